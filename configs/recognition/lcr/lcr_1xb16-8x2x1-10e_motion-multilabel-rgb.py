_base_ = 'lcr_1xb16-8x2x1-10e_motion-rgb.py'

# Any number of labels a clip: up_left is up and left, still is none of them;
# lists of "path label label ...", by "mmlcr motion".
classes = [
    'left', 'right', 'up', 'down', 'clockwise', 'counterclockwise', 'sway'
]
num_classes = 7

# sigmoids and a binary loss instead of softmax and cross entropy
model = dict(cls_head=dict(num_classes=num_classes, multi_class=True))

# left - right, the two spins
flip_parts = dict(_base_.flip, flip_label_map={0: 1, 1: 0, 4: 5, 5: 4})
train_pipeline = [
    flip_parts if step == _base_.flip else step
    for step in _base_.train_pipeline
]

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
