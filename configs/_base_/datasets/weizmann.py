# Ten actions of nine people, three folds by "mmlcr prepare"
data_root = '{{$LCR_DATA_ROOT:data/weizmann}}'
fold = '{{$LCR_FOLD:0}}'
num_classes = {{'$LCR_NUM_CLASSES:10'}}
clip_len, frame_interval = 8, 3
stream_fps = 25 / 3  # every third frame of 25 a second
size = (80, 64)  # width, height

sample = dict(
    type='RandomChoice',
    transforms=[[
        dict(
            type='SampleFrames', clip_len=clip_len, frame_interval=interval)
    ] for interval in (2, frame_interval, 4)])
sample_test = dict(
    type='SampleFrames',
    clip_len=clip_len,
    frame_interval=frame_interval,
    num_clips=10,
    test_mode=True)
random_crop = dict(
    type='RandomResizedCrop',
    area_range=(0.6, 1.0),
    aspect_ratio_range=(1.04, 1.5))
resize = dict(
    type='Resize', scale=size, keep_ratio=False, interpolation='area')
flip = dict(type='Flip', flip_ratio=0.5)
color_jitter = dict(
    type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.)
tube_mask = dict(type='TubeMask', ratio=0.5, patch_size=8)
# people as large as they are in the crops of the training
resize_test = dict(
    type='Resize', scale=(80, 80), keep_ratio=False, interpolation='area')
center_crop = dict(type='CenterCrop', crop_size=size)
train_pipeline = [
    dict(type='VideoInit'), sample,
    dict(type='VideoDecode'), random_crop, resize, flip, color_jitter,
    dict(type='EdgeMap'), tube_mask,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
test_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), resize_test, center_crop,
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
        cache='ram',
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
