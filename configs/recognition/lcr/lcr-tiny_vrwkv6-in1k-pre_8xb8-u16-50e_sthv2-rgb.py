_base_ = '../../lcr_ssv2.py'
