_base_ = 'lcr_weizmann.py'

# the single-frame baseline: the same data, budget and model, and one random
# frame of the clip in the place of every frame; its stem reads the frame too,
# since the differences are nothing
model = dict(backbone=dict(stem_input='both'))

train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(
    type='SampleFrames', clip_len=_base_.clip_len, frame_interval=0)
val_pipeline = _base_.val_pipeline
val_pipeline[1].frame_interval = 0
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
