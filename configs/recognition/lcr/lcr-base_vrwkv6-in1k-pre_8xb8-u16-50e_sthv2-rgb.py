_base_ = [
    '../../_base_/models/lcr_vrwkv6_base.py',
    '../../_base_/datasets/sthv2.py',
    '../../_base_/schedules/adamw_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
# the nearer to the pixels, the more of the image model is kept
optim_wrapper = dict(
    constructor='LayerDecayConstructor', paramwise_cfg=dict(layer_decay=0.8))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
