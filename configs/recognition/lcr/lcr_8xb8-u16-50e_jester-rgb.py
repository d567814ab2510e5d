_base_ = '../../lcr_jester.py'
