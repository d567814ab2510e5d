# AdamW, two cycles of the learning rate; the last checkpoint counts
max_epochs = 106
restart = max_epochs * 46 // 106  # epoch in which the second cycle begins
train_cfg = dict(
    type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=1., norm_type=2))
# the schedule sets the rate itself: --auto-scale-lr does not change it
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=2e-3,
        total_steps=end - begin,
        pct_start=0.15,
        begin=begin,
        end=end,
        by_epoch=True,
        convert_to_iter_based=True)
    for begin, end in ((0, restart), (restart, max_epochs))
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
