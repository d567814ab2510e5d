# Rendered people, each class a random motion; drawn while they are read
num_classes = 256
program_seed = 0  # another one has other motions
clip_len, frame_interval = 8, 3
stream_fps = 25 / 3  # every third frame of 25 a second
size = (80, 64)  # width, height

flip = dict(type='Flip', flip_ratio=0.5)
tube_mask = dict(type='TubeMask', ratio=0.5, patch_size=8)
train_pipeline = [
    flip,
    dict(type='EdgeMap'), tube_mask,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
val_pipeline = [
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# of videos: people as large as they are in the rendered clips
sample_test = dict(
    type='SampleFrames',
    clip_len=clip_len,
    frame_interval=frame_interval,
    num_clips=1,
    test_mode=True)
resize = dict(
    type='Resize', scale=size, keep_ratio=False, interpolation='area')
test_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), resize,
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

dataset = dict(
    type='RenderedPeopleDataset',
    num_classes=num_classes,
    program_seed=program_seed,
    clip_len=clip_len,
    size=size)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        **dataset, length=3200, easy_epochs=14, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset, length=1024, pipeline=val_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
