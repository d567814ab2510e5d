# Copyright (c) The mmlcr authors. All rights reserved.
"""From a config to a runner: loaders, and what choices cost."""
import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmlcr.cli.launch import (
    drop_slow_bfloat16,
    drop_worker_options,
    lost_guarantees,
)

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize('extra', [
    {}, dict(prefetch_factor=2), dict(timeout=5),
    dict(multiprocessing_context='fork')], ids=str)
def test_a_loader_without_workers_loads_by_itself(extra: dict) -> None:
    """persistent_workers and others are for loaders with some."""
    loader = dict(
        batch_size=2, num_workers=0, persistent_workers=True, dataset=[1, 2],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'), **extra)
    drop_worker_options(loader)
    assert len([*Runner.build_dataloader(loader)]) == 1
    expected = dict(num_workers=1, persistent_workers=True, **extra)
    drop_worker_options(expected)
    assert expected == dict(num_workers=1, persistent_workers=True, **extra)


@pytest.mark.parametrize('options, lines', [
    ({}, []),
    ({'custom_hooks': [dict(type='EMAHook')]}, []),
    ({'train_cfg.type': 'EpochBasedTrainLoop'}, ['train_cfg is Epoch']),
    ({'train_dataloader.sampler.type': 'DefaultSampler'},
     ['train_dataloader.sampler is DefaultSampler, not SeededSampler']),
    ({'default_hooks.checkpoint.type': 'CheckpointHook'},
     ['default_hooks.checkpoint is CheckpointHook']),
], ids=str)
def test_choices_that_cost_a_promise_are_told(options: dict,
                                              lines: Any) -> None:
    config = Config.fromfile(CONFIGS / 'lcr_motion.py')
    config.merge_from_dict(options)
    lost = lost_guarantees(config)
    assert len(lost) == len(lines)
    assert all(text.startswith(begin) for text, begin in zip(lost, lines))


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'slow'])
def test_bfloat16_only_where_the_processor_has_it(
        fast: bool, monkeypatch: pytest.MonkeyPatch,
        recwarn: pytest.WarningsRecorder) -> None:
    train = importlib.import_module('mmlcr.cli.train')
    launch = importlib.import_module('mmlcr.cli.launch')
    for module in train, launch:
        monkeypatch.setattr(module, 'cpu_has_bfloat16', lambda: fast)
        monkeypatch.setattr(module.torch.cuda, 'is_available', lambda: False)
    config = Config.fromfile(CONFIGS / 'lcr_motion.py')
    config.test_cfg.fp16 = True
    args = argparse.Namespace(
        config='lcr_motion.py', work_dir=None, no_validate=False, amp=True,
        resume=None, auto_scale_lr=False, seed=None, diff_rank_seed=False,
        deterministic=False)
    train.merge_args(config, args)
    drop_slow_bfloat16(config)
    kind = 'CPUAmpOptimWrapper' if fast else 'OptimWrapper'
    assert config.optim_wrapper.type == kind
    assert config.test_cfg.fp16 is fast
    messages = [str(warning.message) for warning in recwarn]
    assert [message.split(':')[0] for message in messages
            ] == ([] if fast else ['--amp', 'test_cfg.fp16=True'])
    assert all('no instructions for bfloat16' in message
               and 'float32' in message for message in messages)
