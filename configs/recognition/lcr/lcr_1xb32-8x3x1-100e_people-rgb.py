_base_ = [
    '../../_base_/models/lcr_small.py',
    '../../_base_/datasets/people.py',
    '../../_base_/schedules/adamw_400e.py',
    '../../_base_/default_runtime.py',
]

# The model of Weizmann and of your own clips.
model = dict(
    backbone=dict(
        stem_input='difference', readout='attention', supervised_frames=5),
    cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=1, max_keep_ckpts=1))

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].total_steps = max_epochs
auto_scale_lr = dict(base_batch_size=32)
