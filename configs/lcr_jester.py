_base_ = [
    '_base_/runtime.py', '_base_/lcr_tiny.py', '_base_/schedule_adamw.py'
]

# Jester's frames in MMAction2's layout, by tools/prepare_public.py
data_root = '{{$LCR_DATA_ROOT:data/jester}}'
classes = [
    'Swiping Left', 'Swiping Right', 'Swiping Down', 'Swiping Up',
    'Pushing Hand Away', 'Pulling Hand In', 'Sliding Two Fingers Left',
    'Sliding Two Fingers Right', 'Sliding Two Fingers Down',
    'Sliding Two Fingers Up', 'Pushing Two Fingers Away',
    'Pulling Two Fingers In', 'Rolling Hand Forward', 'Rolling Hand Backward',
    'Turning Hand Clockwise', 'Turning Hand Counterclockwise',
    'Zooming In With Full Hand', 'Zooming Out With Full Hand',
    'Zooming In With Two Fingers', 'Zooming Out With Two Fingers', 'Thumb Up',
    'Thumb Down', 'Shaking Hand', 'Stop Sign', 'Drumming Fingers',
    'No gesture', 'Doing other things'
]
num_classes = 27
clip_len, size = 16, 224
stream_fps = 16 / 3  # clip_len frames of a video of three seconds

model = dict(cls_head=dict(num_classes=num_classes))

# swiping and sliding left - right, turning clockwise - counterclockwise
flip_label_map = {0: 1, 1: 0, 6: 7, 7: 6, 14: 15, 15: 14}
train_pipeline = [
    dict(type='UniformSample', clip_len=clip_len),
    dict(type='RawFrameDecode'),
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
    dict(type='UniformSample', clip_len=clip_len, test_mode=True),
    dict(type='RawFrameDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# two clips of three crops
test_pipeline = [
    dict(type='RawFrameInit'),  # of a folder that is given by its path
    dict(type='UniformSample', clip_len=clip_len, num_clips=2, test_mode=True),
    dict(type='RawFrameDecode'),
    dict(type='Resize', scale=(-1, size)),
    dict(type='ThreeCrop', crop_size=size),
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

dataset = dict(
    type='ValidatedRawframeDataset',
    num_classes=num_classes,
    classes=classes,
    data_prefix=dict(img=f'{data_root}/rawframes'),
    filename_tmpl='{:05}.jpg')
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/jester_train_list_rawframes.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/jester_val_list_rawframes.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/jester_val_list_rawframes.txt',
        pipeline=test_pipeline,
        test_mode=True))

default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
