# Copyright (c) The mmlcr authors. All rights reserved.
"""Train a recognizer, with the arguments of MMAction2's own tool."""
import argparse
import warnings

import torch
from mmengine.config import Config

from mmlcr.datasets import report_failed_clips
from mmlcr.engine import cpu_has_bfloat16
from .errors import exit_on
from .launch import (
    CONFIG_ERRORS,
    NO_BFLOAT16,
    build_runner,
    load_config,
    lost_guarantees,
    set_work_dir,
)
from .override_checks import OverrideError


def merge_args(config: Config, args: argparse.Namespace) -> None:
    """Write the arguments of training into the config.

    Raises:
        OverrideError: If ``--auto-scale-lr`` would have no effect.
        ValueError: If ``--amp`` does not go with the optimizer wrapper.
    """
    set_work_dir(config, args)
    if args.no_validate:
        config.val_cfg = None
        config.val_dataloader = None
        config.val_evaluator = None
        # the best checkpoint is chosen by validation
        config.default_hooks.checkpoint.pop('save_best', None)
    if args.amp:
        kind = config.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp does not go with the optimizer wrapper '
                             f'{kind}')
        if torch.cuda.is_available():
            config.optim_wrapper.type = 'AmpOptimWrapper'
            config.optim_wrapper.setdefault('loss_scale', 'dynamic')
        elif cpu_has_bfloat16():
            config.optim_wrapper.type = 'CPUAmpOptimWrapper'
        else:
            warnings.warn(f'--amp: {NO_BFLOAT16}, trains in float32',
                          stacklevel=2)
    if args.resume is not None:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        for scheduler in config.get('param_scheduler') or ():
            if 'eta_max' in scheduler:
                raise OverrideError(
                    f'--auto-scale-lr changes nothing: {scheduler["type"]} '
                    'sets the rate by its eta_max; --cfg-options '
                    'param_scheduler.0.eta_max=... would count')
        config.auto_scale_lr.enable = True
    config.setdefault('randomness', dict(seed=None))
    for name in 'seed', 'diff_rank_seed', 'deterministic':
        if getattr(args, name):
            config.randomness[name] = getattr(args, name)
    if args.seed is not None:  # also 0
        config.randomness.seed = args.seed


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    config = load_config(args)
    merge_args(config, args)
    for warning in lost_guarantees(config):
        warnings.warn(warning, stacklevel=1)
    runner = build_runner(config, args)
    with report_failed_clips(runner):
        runner.train()
