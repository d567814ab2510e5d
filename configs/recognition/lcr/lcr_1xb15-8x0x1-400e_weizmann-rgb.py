_base_ = 'lcr_1xb15-8x3x1-400e_weizmann-rgb.py'

# The single-frame baseline: the same data, budget and model, and one random
# frame of the clip instead of every frame. Its stem reads the frame, too,
# since the differences are zero.
model = dict(backbone=dict(stem_input='both'))

one_frame = dict(
    type='SampleFrames', clip_len=_base_.clip_len, frame_interval=0)
one_frame_test = dict(_base_.sample_test, frame_interval=0)
train_pipeline = [
    one_frame if step == _base_.sample else step
    for step in _base_.train_pipeline
]
val_pipeline = [
    one_frame_test if step == _base_.sample_test else step
    for step in _base_.val_pipeline
]
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
