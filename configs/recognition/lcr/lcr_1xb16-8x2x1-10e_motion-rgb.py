_base_ = [
    '../../_base_/models/lcr_small.py',
    '../../_base_/datasets/motion.py',
    '../../_base_/schedules/adamw_10e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(
    checkpoint=dict(interval=2, max_keep_ckpts=1, save_best='acc/top1'))
