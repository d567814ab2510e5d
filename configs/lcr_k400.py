_base_ = [
    '_base_/runtime.py', '_base_/lcr_vrwkv6_tiny.py',
    '_base_/schedule_adamw.py'
]

# Kinetics-400 in MMAction2's layout, by tools/prepare_public.py
data_root = '{{$LCR_DATA_ROOT:data/kinetics400}}'
num_classes = 400
clip_len, frame_interval, size = 16, 4, 224
stream_fps = 7.5  # every fourth frame of, mostly, 30 a second

model = dict(cls_head=dict(num_classes=num_classes))

train_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames', clip_len=clip_len, frame_interval=frame_interval),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop', area_range=(0.25, 1.0)),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='EdgeMap'),
    dict(type='TubeMask', ratio=0.5, patch_size=16),
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
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# ten clips of three crops
test_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=10,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, size)),
    dict(type='ThreeCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='ValidatedVideoDataset',
        num_classes=num_classes,
        classes=f'{data_root}/classes.txt',
        ann_file=f'{data_root}/kinetics400_train_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ValidatedVideoDataset',
        num_classes=num_classes,
        classes=f'{data_root}/classes.txt',
        ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_val'),
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ValidatedVideoDataset',
        num_classes=num_classes,
        classes=f'{data_root}/classes.txt',
        ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_val'),
        pipeline=test_pipeline,
        test_mode=True))

# the nearer to the pixels, the more of the image model stays
optim_wrapper = dict(
    constructor='LayerDecayConstructor', paramwise_cfg=dict(layer_decay=0.8))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
