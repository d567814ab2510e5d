# rendered people, a start for your own few clips (no weights yet)
_base_ = 'recognition/lcr/lcr_1xb16-8x3x1-30e_people-rgb.py'
