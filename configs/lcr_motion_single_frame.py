# the motion set from single frames, a baseline
_base_ = 'recognition/lcr/lcr_1xb16-8x0x1-10e_motion-rgb.py'
