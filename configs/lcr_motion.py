_base_ = ['_base_/runtime.py', '_base_/lcr_small.py']

# twelve motions, rendered by tools/make_motion.py
data_root = '{{$LCR_DATA_ROOT:data/motion}}'
num_classes = 12
clip_len, frame_interval, size = 8, 2, 48
stream_fps = 12.5  # every second frame of 25 a second
max_epochs = 10

model = dict(cls_head=dict(num_classes=num_classes))

# left - right, up_left - up_right, down_left - down_right, the two spins
flip_label_map = {0: 1, 1: 0, 4: 5, 5: 4, 6: 7, 7: 6, 8: 9, 9: 8}
train_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames', clip_len=clip_len, frame_interval=frame_interval),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5, flip_label_map=flip_label_map),
    dict(type='EdgeMap'),
    dict(type='TubeMask', ratio=0.5, patch_size=8),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
val_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=clip_len,
        frame_interval=frame_interval,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = val_pipeline

dataset = dict(
    type='ValidatedVideoDataset',
    num_classes=num_classes,
    classes=f'{data_root}/classes.txt',
    open_files=True,
    data_prefix=dict(video=f'{data_root}/videos'))
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/train.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/val.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/test.txt',
        pipeline=test_pipeline,
        test_mode=True))
val_evaluator = dict(type='AccMetric', metric_options=dict(
    top_k_accuracy=dict(topk=(1, ))))
test_evaluator = val_evaluator

train_cfg = dict(
    type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=1., norm_type=2))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.04,
        by_epoch=True,
        begin=0,
        end=2,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=2,
        end=max_epochs,
        T_max=max_epochs - 2,
        eta_min=0.,
        convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(
    checkpoint=dict(interval=2, max_keep_ckpts=1, save_best='acc/top1'))
