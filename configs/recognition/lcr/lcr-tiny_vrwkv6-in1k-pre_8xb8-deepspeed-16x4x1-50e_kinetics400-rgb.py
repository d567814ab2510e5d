_base_ = [
    '../../_base_/models/lcr_vrwkv6_tiny.py',
    '../../_base_/datasets/kinetics400.py',
    '../../_base_/schedules/adamw_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))

# MMEngine's DeepSpeed, for GPUs. Stage 2 at most, as stage 3 does not support
# the backend "eager", which packs the parameters of the layers. MMEngine calls
# no hooks when DeepSpeed saves: a checkpoint that is saved again after a
# validation counts an epoch too many (a hook corrects it elsewhere).
runner_type = 'FlexibleRunner'
init_weights_for_test_or_val = False
strategy = dict(
    type='DeepSpeedStrategy',
    gradient_clipping=1.,
    zero_optimization=dict(stage=2))
optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(
        layer_decay=0.8, norm_decay_mult=0., bias_decay_mult=0.))
