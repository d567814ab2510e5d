_base_ = 'lcr_1xb15-8x3x1-400e_weizmann-rgb.py'

# what the backbone starts from; None: from scratch, with max_epochs = 400
start = 'mmlcr://lcr_people'
model = dict(
    backbone=dict(
        init_cfg=start and dict(
            type='Pretrained', checkpoint=start, prefix='backbone.')))

# in 400 steps a start is learned from better with fewer tokens dropped
tube_mask = dict(_base_.tube_mask, ratio=0.25 if start else 0.5)
train_pipeline = [
    tube_mask if step == _base_.tube_mask else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].total_steps = max_epochs
default_hooks = dict(checkpoint=dict(interval=12))
