_base_ = '../../lcr_ssv2_small.py'
