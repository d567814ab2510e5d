_base_ = [
    '../../_base_/models/lcr_vrwkv6_tiny.py',
    '../../_base_/datasets/kinetics400.py',
    '../../_base_/schedules/adamw_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
# the nearer to the pixels, the more of the image model is kept
optim_wrapper = dict(
    constructor='LayerDecayConstructor', paramwise_cfg=dict(layer_decay=0.8))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))

# MMEngine's FSDP, for GPUs. All parameters are one unit, as the backend
# "eager" packs those of the layers; with model.backbone.backend='module', a
# layer can be a unit. MMEngine clips gradients by the norm of each shard.
runner_type = 'FlexibleRunner'
init_weights_for_test_or_val = False
strategy = dict(
    type='FSDPStrategy',
    state_dict_cfg='full',  # checkpoints as of any other training
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', use_orig_params=True))
