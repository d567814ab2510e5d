_base_ = 'lcr_k400.py'

# MMEngine's FSDP, for GPUs. All parameters are one unit: LCR reads those of
# its layers itself, which FSDP would not notice if it wrapped them one by one.
# Gradients are clipped by the norm of each shard, as MMEngine does it.
runner_type = 'FlexibleRunner'
init_weights_for_test_or_val = False
strategy = dict(
    type='FSDPStrategy',
    state_dict_cfg='full',  # checkpoints as of any other training
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', use_orig_params=True))
