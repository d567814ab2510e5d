_base_ = 'lcr_1xb16-8x2x1-10e_motion-rgb.py'

# The single-frame baseline: the same model, data and budget, and one random
# frame of the clip instead of every frame.
one_frame = dict(_base_.sample, frame_interval=0)
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
