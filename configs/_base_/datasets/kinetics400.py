_base_ = 'clips_224.py'

# Kinetics-400 in MMAction2's layout, by "mmlcr prepare-public"
data_root = '{{$LCR_DATA_ROOT:data/kinetics400}}'
num_classes = 400
clip_len, frame_interval = 16, 4
stream_fps = 7.5  # every fourth frame of, mostly, 30 a second

sample = dict(
    type='SampleFrames', clip_len=clip_len, frame_interval=frame_interval)
sample_val = dict(sample, test_mode=True)
sample_test = dict(sample_val, num_clips=10)
flip = dict(type='Flip', flip_ratio=0.5)
train_pipeline = [
    dict(type='VideoInit'), sample,
    dict(type='VideoDecode'), _base_.resize, _base_.random_crop,
    _base_.resize_crop, flip, *_base_.pack_train
]
val_pipeline = [
    dict(type='VideoInit'), sample_val,
    dict(type='VideoDecode'), _base_.resize, _base_.center_crop, *_base_.pack
]
# ten clips of three crops
test_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), _base_.resize_test, _base_.three_crop,
    *_base_.pack
]

dataset = dict(
    type='ValidatedVideoDataset',
    num_classes=num_classes,
    classes=f'{data_root}/classes.txt')
train_dataloader = dict(
    **_base_.train_loader,
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}/kinetics400_train_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_train'),
        pipeline=train_pipeline))
validation = dict(
    **dataset,
    ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos_val'),
    test_mode=True)
val_dataloader = dict(
    **_base_.val_loader, dataset=dict(**validation, pipeline=val_pipeline))
test_dataloader = dict(
    **_base_.test_loader, dataset=dict(**validation, pipeline=test_pipeline))
