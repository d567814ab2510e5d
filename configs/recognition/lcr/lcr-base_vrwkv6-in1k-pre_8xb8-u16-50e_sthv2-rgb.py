_base_ = '../../lcr_ssv2_base.py'
