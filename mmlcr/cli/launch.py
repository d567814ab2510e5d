# Copyright (c) The mmlcr authors. All rights reserved.
"""Build a runner from the arguments of a command."""
import argparse
import os
import os.path as osp
import warnings
from typing import Any, List, Optional

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import Runner

from mmaction.registry import RUNNERS
from mmlcr.engine import cpu_has_bfloat16, find_config
from mmlcr.models.compiling import prepare_for_compile
from .overrides import (
    OverrideError,
    environment,
    read_config,
    reads_variable,
    what_counts,
)

VARIABLES = ('data_root', 'fold', 'num_classes')  # LCR_DATA_ROOT, ...
# what load_config raises
CONFIG_ERRORS = OverrideError, FileNotFoundError
NO_BFLOAT16 = ('this processor has no instructions for bfloat16, in which it '
               'would be many times slower')


def parse_options(options: Optional[List[str]]) -> Optional[dict]:
    """Parse ``key=value`` as MMEngine's own tools do."""
    if options is None:
        return None
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the arguments name, with their overrides.

    ``--data-root``, ``--fold`` and ``--num-classes`` are set before the config
    is read, so that everything derived from them follows, and so do the
    variables that ``--cfg-options`` overrides. A path that does not exist is
    searched among the configs that come with the package.

    Raises:
        FileNotFoundError: If there is no such config.
        OverrideError: If an override changes nothing.
    """
    path = find_config(args.config)
    given = {
        f'LCR_{name.upper()}': str(getattr(args, name))
        for name in VARIABLES if getattr(args, name) is not None
    }
    with environment(given):
        config = read_config(path, parse_options(args.cfg_options))
        for name in VARIABLES:
            variable = f'LCR_{name.upper()}'
            if variable not in os.environ or reads_variable(
                    path, variable):
                continue
            if variable in given:
                raise OverrideError(ineffective(name, given[variable], path))
            warnings.warn(
                f'{variable} is set, and {args.config} does not read it',
                stacklevel=2)
    return config


def ineffective(name: str, value: str, path: str) -> str:
    """Return the message that an option has no effect, and what would."""
    message = (f'--{name.replace("_", "-")} {value} changes nothing: '
               f'{osp.basename(path)} does not read LCR_{name.upper()}')
    try:
        read_config(path, {name: value})
        counts = [name]
    except OverrideError:  # no variable of that name, or one without effect
        counts = what_counts(name, Config.fromfile(path))
    if not counts:
        return message
    keys = ' '.join(f'{key}={value}' for key in counts[:4])
    return f'{message}; --cfg-options {keys} would count'


def set_work_dir(config: Config, args: argparse.Namespace) -> None:
    """Take the work dir of the arguments, of the config, or the default.

    The default is ``work_dirs/CONFIG_NAME``.
    """
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        config.work_dir = osp.join('work_dirs', name)


def drop_worker_options(loader: dict) -> None:
    """Remove options that torch refuses for a loader without workers."""
    if loader.get('num_workers') == 0:
        for name in ('persistent_workers', 'prefetch_factor', 'timeout',
                     'multiprocessing_context'):
            loader.pop(name, None)


def drop_slow_bfloat16(config: Config) -> None:
    """Test in float32 where the processor does not multiply in bfloat16."""
    if torch.cuda.is_available() or cpu_has_bfloat16():
        return
    for name in 'val_cfg', 'test_cfg':
        loop = config.get(name) or {}
        if loop.get('fp16'):
            warnings.warn(f'{name}.fp16=True: {NO_BFLOAT16}, runs in float32',
                          stacklevel=3)
            loop['fp16'] = False


def lost_guarantees(config: Config) -> List[str]:
    """Return a warning for each guarantee that a config gives up."""
    choices = (
        ('train_cfg', 'ResumableTrainLoop', 'a resumed run may end with '
         'other weights or skip samples, and a loss that is not finite does '
         'not stop it'),
        ('train_dataloader.sampler', 'SeededSampler', 'random numbers of a '
         'clip depend on those drawn before, so a resumed run differs'),
        ('default_hooks.checkpoint', 'AtomicCheckpointHook', 'a run that is '
         'killed while it writes may leave half of a checkpoint'))
    lost = []
    for key, ours, cost in choices:
        part: Any = config
        for name in key.split('.'):
            part = part.get(name) if hasattr(part, 'get') else None
        kind = part.get('type') if hasattr(part, 'get') else None
        if kind is not None and kind not in (ours, HOOKS.get(ours),
                                             LOOPS.get(ours)):
            lost.append(f'{key} is {kind}, not {ours}: {cost}')
    return lost


def build_runner(config: Config, args: argparse.Namespace) -> Runner:
    """Build the runner, and join the other processes of a launch.

    MMEngine's launcher and model wrapper require CUDA. On a machine without,
    gloo is started here first, which MMEngine then finds running, and the
    wrapper is configured without a device.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    for name in 'train', 'val', 'test':
        drop_worker_options(config.get(f'{name}_dataloader') or {})
    drop_slow_bfloat16(config)
    config.launcher = args.launcher
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
        config.setdefault('model_wrapper_cfg',
                          dict(
                              type='MMDistributedDataParallel',
                              device_ids=None))
    if config.get('compile'):
        prepare_for_compile()
    if 'runner_type' in config:
        return RUNNERS.build(config)
    return Runner.from_cfg(config)
