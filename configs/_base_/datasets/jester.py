_base_ = 'clips_224.py'

# Jester's frames in MMAction2's layout, by "mmlcr prepare-public"
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
clip_len = 16
stream_fps = 16 / 3  # clip_len frames of a video of three seconds

# swiping and sliding left - right, turning clockwise - counterclockwise
flip_label_map = {0: 1, 1: 0, 6: 7, 7: 6, 14: 15, 15: 14}
sample = dict(type='UniformSample', clip_len=clip_len)
sample_val = dict(sample, test_mode=True)
sample_test = dict(sample_val, num_clips=2)
decode = dict(type='RawFrameDecode')
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=flip_label_map)
train_pipeline = [
    sample, decode, _base_.resize, _base_.random_crop, _base_.resize_crop,
    flip, *_base_.pack_train
]
val_pipeline = [
    sample_val, decode, _base_.resize, _base_.center_crop, *_base_.pack
]
# two clips of three crops, also of a folder that is given by its path
test_pipeline = [
    dict(type='RawFrameInit'), sample_test, decode, _base_.resize_test,
    _base_.three_crop, *_base_.pack
]

dataset = dict(
    type='ValidatedRawframeDataset',
    num_classes=num_classes,
    classes=classes,
    data_prefix=dict(img=f'{data_root}/rawframes'),
    filename_tmpl='{:05}.jpg')
train_dataloader = dict(
    **_base_.train_loader,
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/jester_train_list_rawframes.txt',
        pipeline=train_pipeline))
validation = dict(
    **dataset,
    ann_file=f'{data_root}/jester_val_list_rawframes.txt',
    test_mode=True)
val_dataloader = dict(
    **_base_.val_loader, dataset=dict(**validation, pipeline=val_pipeline))
test_dataloader = dict(
    **_base_.test_loader, dataset=dict(**validation, pipeline=test_pipeline))
