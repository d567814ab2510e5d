# the motion set with several labels a clip
_base_ = 'recognition/lcr/lcr_1xb16-8x2x1-10e_motion-multilabel-rgb.py'
