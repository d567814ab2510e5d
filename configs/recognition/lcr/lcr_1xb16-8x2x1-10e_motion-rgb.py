_base_ = '../../lcr_motion.py'
