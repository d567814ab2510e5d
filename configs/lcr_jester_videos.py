_base_ = 'lcr_jester.py'

# Jester, its frames put together as videos: videos/ID.mp4 or another kind
train_pipeline = [
    dict(type='VideoInit'), _base_.train_pipeline[0],
    dict(type='VideoDecode'), *_base_.train_pipeline[2:]
]
val_pipeline = [
    dict(type='VideoInit'), _base_.val_pipeline[0],
    dict(type='VideoDecode'), *_base_.val_pipeline[2:]
]
test_pipeline = [
    dict(type='VideoInit'), _base_.test_pipeline[1],
    dict(type='VideoDecode'), *_base_.test_pipeline[3:]
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
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{_base_.data_root}/jester_val_list_videos.txt',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{_base_.data_root}/jester_val_list_videos.txt',
        pipeline=test_pipeline,
        test_mode=True))
