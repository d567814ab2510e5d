_base_ = [
    '../../_base_/models/lcr_small.py',
    '../../_base_/datasets/weizmann.py',
    '../../_base_/schedules/adamw_400e.py',
    '../../_base_/default_runtime.py',
]

# With few people in front of few walls, the stem reads differences alone, so
# that a clip is not recognized by its background.
model = dict(
    backbone=dict(
        stem_input='difference', readout='attention', supervised_frames=5),
    cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(
    logger=dict(interval=4), checkpoint=dict(interval=50, max_keep_ckpts=1))
