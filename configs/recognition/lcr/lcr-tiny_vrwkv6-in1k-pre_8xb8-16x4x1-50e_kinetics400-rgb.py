_base_ = '../../lcr_k400.py'
