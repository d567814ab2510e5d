_base_ = '../../lcr_k400_small.py'
