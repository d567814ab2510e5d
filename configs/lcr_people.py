# rendered people, the start for your own few clips
_base_ = 'recognition/lcr/lcr_1xb32-8x3x1-100e_people-rgb.py'
