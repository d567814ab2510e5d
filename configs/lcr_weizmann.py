# Weizmann, and the recipe for your own few clips
_base_ = 'recognition/lcr/lcr_people-pre_1xb15-8x3x1-100e_weizmann-rgb.py'
