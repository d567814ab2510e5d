# Kinetics-400 on GPUs with MMEngine's FSDP
_base_ = (
    'recognition/lcr/'
    'lcr-tiny_vrwkv6-in1k-pre_8xb8-fsdp-16x4x1-50e_kinetics400-rgb.py')
