# Weizmann, and the start for your own few clips
_base_ = 'recognition/lcr/lcr_1xb15-8x3x1-400e_weizmann-rgb.py'
