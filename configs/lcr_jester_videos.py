# Jester from videos, 5.3 M parameters from scratch
_base_ = 'recognition/lcr/lcr_8xb8-u16-50e_jester-videos-rgb.py'
