# Something-Something V2, from a Vision-RWKV base image model
_base_ = 'recognition/lcr/lcr-base_vrwkv6-in1k-pre_8xb8-u16-50e_sthv2-rgb.py'
