# What Kinetics, Something-Something and Jester have in common: crops, loaders
# and metric for clips at 224x224.
size = 224
resize = dict(type='Resize', scale=(-1, 256))
random_crop = dict(type='RandomResizedCrop', area_range=(0.25, 1.0))
resize_crop = dict(type='Resize', scale=(size, size), keep_ratio=False)
center_crop = dict(type='CenterCrop', crop_size=size)
resize_test = dict(type='Resize', scale=(-1, size))
three_crop = dict(type='ThreeCrop', crop_size=size)
tube_mask = dict(type='TubeMask', ratio=0.5, patch_size=16)
pack_train = [
    dict(type='EdgeMap'), tube_mask,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
pack = [
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

train_loader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True))
val_loader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False))
test_loader = dict(val_loader, batch_size=1)  # of several views

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
