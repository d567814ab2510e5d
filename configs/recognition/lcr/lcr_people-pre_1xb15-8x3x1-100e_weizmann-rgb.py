_base_ = 'lcr_1xb15-8x3x1-400e_weizmann-rgb.py'

# what the backbone starts from; None: from scratch, with max_epochs = 400
start = 'mmlcr://lcr_people'
model = dict(
    backbone=dict(
        init_cfg=start and dict(
            type='Pretrained', checkpoint=start, prefix='backbone.')))
max_epochs = 100
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].total_steps = max_epochs
default_hooks = dict(checkpoint=dict(interval=12))
