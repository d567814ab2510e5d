_base_ = [
    '../../_base_/models/lcr_small.py',
    '../../_base_/datasets/weizmann.py',
    '../../_base_/schedules/adamw_400e.py',
    '../../_base_/default_runtime.py',
]

# what the backbone starts from; None: from scratch, with max_epochs = 400
start = 'mmlcr://lcr_people'
model = dict(
    backbone=dict(
        stem_input='difference',
        readout='attention',
        supervised_frames=5,
        init_cfg=start and dict(
            type='Pretrained', checkpoint=start, prefix='backbone.')),
    cls_head=dict(num_classes=_base_.num_classes))
max_epochs = 100
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].total_steps = max_epochs
default_hooks = dict(
    logger=dict(interval=4), checkpoint=dict(interval=12, max_keep_ckpts=1))
