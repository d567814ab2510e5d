_base_ = [
    '../../_base_/models/lcr_tiny.py',
    '../../_base_/datasets/jester.py',
    '../../_base_/schedules/adamw_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
