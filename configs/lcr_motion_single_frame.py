_base_ = 'lcr_motion.py'

# the single-frame baseline: the same model, data and budget, and one random
# frame of the clip in the place of every frame
train_pipeline = _base_.train_pipeline
train_pipeline[1].frame_interval = 0
val_pipeline = _base_.val_pipeline
val_pipeline[1].frame_interval = 0
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
