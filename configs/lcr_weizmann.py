_base_ = ['_base_/runtime.py', '_base_/lcr_small.py']

# ten actions of nine people, three folds by tools/prepare_dataset.py
data_root = '{{$LCR_DATA_ROOT:data/weizmann}}'
fold = '{{$LCR_FOLD:0}}'
num_classes = {{'$LCR_NUM_CLASSES:10'}}
clip_len, frame_interval = 8, 3
stream_fps = 25 / 3  # every third frame of 25 a second
size = (80, 64)  # width, height
max_epochs = 400

# Few people before few walls: the stem reads differences alone, so that a
# clip is not recognised by its background.
model = dict(
    backbone=dict(
        stem_input='difference', readout='attention', supervised_frames=5),
    cls_head=dict(num_classes=num_classes))

train_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='RandomChoice',
        transforms=[[
            dict(
                type='SampleFrames',
                clip_len=clip_len,
                frame_interval=interval)
        ] for interval in (2, frame_interval, 4)]),
    dict(type='VideoDecode'),
    dict(
        type='RandomResizedCrop',
        area_range=(0.6, 1.0),
        aspect_ratio_range=(1.04, 1.5)),
    dict(
        type='Resize', scale=size, keep_ratio=False, interpolation='area'),
    dict(type='Flip', flip_ratio=0.5),
    dict(
        type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3,
        hue=0.),
    dict(type='EdgeMap'),
    dict(type='TubeMask', ratio=0.5, patch_size=8),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
test_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=10,
        test_mode=True),
    dict(type='VideoDecode'),
    # people as large as they are in the crops of the training
    dict(
        type='Resize', scale=(80, 80), keep_ratio=False,
        interpolation='area'),
    dict(type='CenterCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
val_pipeline = test_pipeline

dataset = dict(
    type='ValidatedVideoDataset',
    num_classes=num_classes,
    classes=f'{data_root}/classes.txt',
    open_files=True,
    data_prefix=dict(video=f'{data_root}/videos'))
train_dataloader = dict(
    batch_size=15,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/fold{fold}_train.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=3,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/fold{fold}_test.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric', metric_options=dict(
    top_k_accuracy=dict(topk=(1, ))))
test_evaluator = val_evaluator

# the last checkpoint counts: no epoch is chosen on the test fold
train_cfg = dict(
    type='ResumableTrainLoop',
    max_epochs=max_epochs,
    val_interval=max_epochs)
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
        total_steps=max_epochs,
        pct_start=0.15,
        by_epoch=True,
        convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=15)
default_hooks = dict(
    logger=dict(interval=4),
    checkpoint=dict(interval=50, max_keep_ckpts=1))
