_base_ = '../../lcr_k400_base.py'
