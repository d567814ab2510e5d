# Weizmann from scratch, for the scores without a start
_base_ = 'recognition/lcr/lcr_1xb15-8x3x1-400e_weizmann-rgb.py'
