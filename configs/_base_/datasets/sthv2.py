_base_ = 'clips_224.py'

# Something-Something V2 in MMAction2's layout, by "mmlcr prepare-public"
data_root = '{{$LCR_DATA_ROOT:data/sthv2}}'
num_classes = 174
clip_len = 16
stream_fps = 4.  # clip_len frames of a video of four seconds

# pulling and pushing from left to right - from right to left, turning the
# camera left - right
flip_label_map = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
sample = dict(type='UniformSample', clip_len=clip_len)
sample_val = dict(sample, test_mode=True)
sample_test = dict(sample_val, num_clips=2)
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=flip_label_map)
train_pipeline = [
    dict(type='VideoInit'), sample,
    dict(type='VideoDecode'), _base_.resize, _base_.random_crop,
    _base_.resize_crop, flip, *_base_.pack_train
]
val_pipeline = [
    dict(type='VideoInit'), sample_val,
    dict(type='VideoDecode'), _base_.resize, _base_.center_crop, *_base_.pack
]
# two clips of three crops
test_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), _base_.resize_test, _base_.three_crop,
    *_base_.pack
]

dataset = dict(
    type='ValidatedVideoDataset',
    num_classes=num_classes,
    classes=f'{data_root}/classes.txt',
    data_prefix=dict(video=f'{data_root}/videos'))
train_dataloader = dict(
    **_base_.train_loader,
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/sthv2_train_list_videos.txt',
        pipeline=train_pipeline))
validation = dict(
    **dataset,
    ann_file=f'{data_root}/sthv2_val_list_videos.txt',
    test_mode=True)
val_dataloader = dict(
    **_base_.val_loader, dataset=dict(**validation, pipeline=val_pipeline))
test_dataloader = dict(
    **_base_.test_loader, dataset=dict(**validation, pipeline=test_pipeline))
