_base_ = [
    '_base_/runtime.py', '_base_/lcr_vrwkv6_tiny.py',
    '_base_/schedule_adamw.py'
]

# Something-Something V2 in MMAction2's layout, by tools/prepare_public.py
data_root = '{{$LCR_DATA_ROOT:data/sthv2}}'
num_classes = 174
clip_len, size = 16, 224
stream_fps = 4.  # clip_len frames of a video of four seconds

model = dict(cls_head=dict(num_classes=num_classes))

# pulling from left to right - from right to left, pushing likewise, turning
# the camera left - right
flip_label_map = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
train_pipeline = [
    dict(type='VideoInit'),
    dict(type='UniformSample', clip_len=clip_len),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop', area_range=(0.25, 1.0)),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5, flip_label_map=flip_label_map),
    dict(type='EdgeMap'),
    dict(type='TubeMask', ratio=0.5, patch_size=16),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
val_pipeline = [
    dict(type='VideoInit'),
    dict(type='UniformSample', clip_len=clip_len, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# two clips of three crops
test_pipeline = [
    dict(type='VideoInit'),
    dict(type='UniformSample', clip_len=clip_len, num_clips=2, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, size)),
    dict(type='ThreeCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

dataset = dict(
    type='ValidatedVideoDataset',
    num_classes=num_classes,
    classes=f'{data_root}/classes.txt',
    data_prefix=dict(video=f'{data_root}/videos'))
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/sthv2_train_list_videos.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/sthv2_val_list_videos.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/sthv2_val_list_videos.txt',
        pipeline=test_pipeline,
        test_mode=True))

# the nearer to the pixels, the more of the image model stays
optim_wrapper = dict(
    constructor='LayerDecayConstructor', paramwise_cfg=dict(layer_decay=0.8))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
