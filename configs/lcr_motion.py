# the rendered motion set: trains in minutes on a CPU
_base_ = 'recognition/lcr/lcr_1xb16-8x2x1-10e_motion-rgb.py'
