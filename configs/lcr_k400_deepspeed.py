_base_ = 'lcr_k400.py'

# MMEngine's DeepSpeed, for GPUs. Stage 2 at most: LCR reads the parameters of
# its layers itself, which stage 3 would not notice. MMEngine calls no hooks
# where DeepSpeed saves: what is saved again after a validation, with a new
# best score, counts an epoch too many (corrected by a hook elsewhere).
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
