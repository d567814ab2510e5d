_base_ = [
    '../../_base_/models/lcr_tiny.py',
    '../../_base_/datasets/jester.py',
    '../../_base_/schedules/adamw_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))

# Jester, its frames joined to videos: videos/ID.mp4 or another container
video_init, video_decode = dict(type='VideoInit'), dict(type='VideoDecode')
train_pipeline = [
    video_init, _base_.sample, video_decode, _base_.resize,
    _base_.random_crop, _base_.resize_crop, _base_.flip, *_base_.pack_train
]
val_pipeline = [
    video_init, _base_.sample_val, video_decode, _base_.resize,
    _base_.center_crop, *_base_.pack
]
test_pipeline = [
    video_init, _base_.sample_test, video_decode, _base_.resize_test,
    _base_.three_crop, *_base_.pack
]

dataset = dict(
    _delete_=True,
    type='ValidatedVideoDataset',
    num_classes=_base_.num_classes,
    classes=_base_.classes,
    data_prefix=dict(video=f'{_base_.data_root}/videos'))
train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{_base_.data_root}/jester_train_list_videos.txt',
        pipeline=train_pipeline))
validation = dict(
    **dataset,
    ann_file=f'{_base_.data_root}/jester_val_list_videos.txt',
    test_mode=True)
val_dataloader = dict(dataset=dict(**validation, pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(**validation, pipeline=test_pipeline))
