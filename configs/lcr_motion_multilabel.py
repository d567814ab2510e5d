_base_ = 'lcr_motion.py'

# the motion set with any number of labels a clip: up_left is up and left,
# still is none of them; lists of "path label label ...", by
# tools/make_motion.py
classes = [
    'left', 'right', 'up', 'down', 'clockwise', 'counterclockwise', 'sway'
]
num_classes = 7

# sigmoids and a binary loss in place of softmax and cross entropy
model = dict(cls_head=dict(num_classes=num_classes, multi_class=True))

# left - right, the two spins
train_pipeline = _base_.train_pipeline
train_pipeline[4].flip_label_map = {0: 1, 1: 0, 4: 5, 5: 4}

dataset = dict(
    num_classes=num_classes,
    multi_class=True,
    classes=classes)
train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{_base_.data_root}/multilabel_train.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=f'{_base_.data_root}/multilabel_val.txt'))
test_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=f'{_base_.data_root}/multilabel_test.txt'))

val_evaluator = dict(
    _delete_=True, type='AccMetric', metric_list='mean_average_precision')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='acc/mean_average_precision'))
