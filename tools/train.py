# Copyright (c) The mmlcr authors. All rights reserved.
"""Train a recognizer; the arguments are those of MMAction2's own tool."""
import argparse
import warnings

import torch
from mmengine.config import Config

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import add_common_arguments
from mmlcr.cli.launch import (
    build_runner,
    ending_with_errors,
    load_config,
    lost_promises,
    set_work_dir,
)
from mmlcr.cli.override_checks import OverrideError
from mmlcr.datasets import report_failed_clips


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a recognizer')
    parser.add_argument(
        'config', help='config file; those of the package by their name')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or without a value from the '
        'latest in the work dir')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate checkpoints during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the batch size over the config's")
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        help='another seed for every process')
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='deterministic algorithms of CUDA')
    add_common_arguments(parser)
    args = parser.parse_args()
    if args.diff_rank_seed and args.launcher == 'none':
        parser.error('--diff-rank-seed: there is one process without '
                     '--launcher')
    return args


def merge_args(config: Config, args: argparse.Namespace) -> None:
    """Write the arguments of training into the config."""
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
        config.optim_wrapper.type = 'CPUAmpOptimWrapper'
        if torch.cuda.is_available():
            config.optim_wrapper.type = 'AmpOptimWrapper'
            config.optim_wrapper.setdefault('loss_scale', 'dynamic')
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


@ending_with_errors()
def main() -> None:
    args = parse_args()
    config = load_config(args)
    merge_args(config, args)
    for lost in lost_promises(config):
        warnings.warn(lost, stacklevel=1)
    runner = build_runner(config, args)
    with report_failed_clips(runner):
        runner.train()


if __name__ == '__main__':
    main()
