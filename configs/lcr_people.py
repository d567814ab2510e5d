# rendered people, from which your own few clips can start
_base_ = 'recognition/lcr/lcr_1xb16-8x3x1-30e_people-rgb.py'
