# Weizmann from single frames, a baseline
_base_ = 'recognition/lcr/lcr_1xb15-8x0x1-400e_weizmann-rgb.py'
