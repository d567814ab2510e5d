_base_ = '../../lcr_weizmann.py'
