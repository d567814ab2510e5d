# Twelve motions, rendered by "mmlcr motion"
data_root = '{{$LCR_DATA_ROOT:data/motion}}'
num_classes = 12
clip_len, frame_interval, size = 8, 2, 48
stream_fps = 12.5  # every second frame of 25 a second

# left - right, up_left - up_right, down_left - down_right, the two spins
flip_label_map = {0: 1, 1: 0, 4: 5, 5: 4, 6: 7, 7: 6, 8: 9, 9: 8}
sample = dict(
    type='SampleFrames', clip_len=clip_len, frame_interval=frame_interval)
sample_test = dict(sample, test_mode=True)
resize = dict(type='Resize', scale=(size, size), keep_ratio=False)
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=flip_label_map)
tube_mask = dict(type='TubeMask', ratio=0.5, patch_size=8)
train_pipeline = [
    dict(type='VideoInit'), sample,
    dict(type='VideoDecode'), resize, flip,
    dict(type='EdgeMap'), tube_mask,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
val_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), resize,
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
loader = dict(batch_size=16, num_workers=1, persistent_workers=True)
train_dataloader = dict(
    **loader,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/train.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/val.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/test.txt',
        pipeline=test_pipeline,
        test_mode=True))
val_evaluator = dict(type='AccMetric', metric_options=dict(
    top_k_accuracy=dict(topk=(1, ))))
test_evaluator = val_evaluator
