# Kinetics-400, from a Vision-RWKV base image model
_base_ = (
    'recognition/lcr/'
    'lcr-base_vrwkv6-in1k-pre_8xb8-16x4x1-50e_kinetics400-rgb.py')
