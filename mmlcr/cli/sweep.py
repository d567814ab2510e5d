# Copyright (c) The mmlcr authors. All rights reserved.
"""Train and test a config over variants, folds and seeds; tabulate top-1.

Every run is ``mmlcr train`` and ``mmlcr test`` in a folder of its own.
Finished runs are not repeated, so that an interrupted sweep can be continued.
"""
import argparse
import glob
import json
import os
import os.path as osp
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, stdev
from typing import (
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmaction.registry import MODELS
from .launch import load_config

MAX_REASON = 300  # characters of why a checkpoint is no start


class RunError(RuntimeError):
    """A run failed, or is there with other settings; names its folder."""


class Run(NamedTuple):
    """One training."""
    variant: str
    config: str
    options: List[str]  # for --cfg-options
    fold: Optional[int]
    seed: int
    train_options: Tuple[str, ...] = ()  # for "mmlcr train" alone

    @property
    def folder(self) -> str:
        """The name of its folder."""
        name = ''.join(c if c.isalnum() else '_' for c in self.variant)
        fold = '' if self.fold is None else f'_fold{self.fold}'
        return f'{name}{fold}_seed{self.seed}'


class Result(NamedTuple):
    """What a run came to."""
    top1: float  # in per cent
    minutes: Optional[float]  # of training; None for a run of long ago


class Summary(NamedTuple):
    """Top-1 of runs over folds and seeds, in per cent."""
    folds: List[float]  # means over seeds
    mean: float
    spread: Optional[float]  # standard deviation of the means of seeds
    worst: float  # of all runs

    @property
    def cells(self) -> List[str]:
        """The columns of :func:`columns`."""
        spread = '' if self.spread is None else f'{self.spread:.1f}'
        return [*(f'{top1:.1f}' for top1 in self.folds),
                f'**{self.mean:.1f}**', spread]


def read(args: argparse.Namespace,
         path: str,
         fold: Optional[int] = None,
         options: Sequence[str] = ()) -> Config:
    """Read the config of a run as its training does.

    Args:
        args (argparse.Namespace): Arguments of all runs.
        path (str): Path of the config.
        fold (int, optional): The fold. Defaults to None.
        options (sequence[str]): Settings of the run. Defaults to none.
    """
    return load_config(
        argparse.Namespace(
            config=path,
            data_root=args.data_root,
            fold=fold,
            num_classes=None,
            cfg_options=[*args.cfg_options, *options] or None))


def own_start(config: Config) -> Optional[str]:
    """Return the checkpoint that a config starts from, None: from scratch."""
    start = config.model.backbone.get('init_cfg') or {}
    return start.get('checkpoint')


def start_options(config: Config, checkpoint: Optional[str]) -> List[str]:
    """Return the options of another start of LCR's backbone.

    They set the variable ``start`` of a config that has one, so that all that
    depends on it follows.

    Args:
        config (Config): Config of LCR.
        checkpoint (str, optional): What to start from; None: from scratch.
    """
    if 'start' in config:
        return [f'start={checkpoint}']
    key = 'model.backbone.init_cfg'
    if checkpoint is None:
        return [f'{key}=None']
    return [f'{key}.type=Pretrained', f'{key}.checkpoint={checkpoint}',
            f'{key}.prefix=backbone.']


def check_start(config: Config, name: str) -> None:
    """Check that the backbone can start from its checkpoint, if it has one.

    Args:
        config (Config): Config of LCR.
        name (str): Name of the start in the error.

    Raises:
        ValueError: If the checkpoint is missing or has the weights of another
            model.
    """
    if config.model.backbone.get('init_cfg'):
        init_default_scope(config.get('default_scope', 'mmaction'))
        try:
            MODELS.build(config.model.backbone).init_weights()
        except (OSError, ValueError) as error:
            reason = textwrap.shorten(str(error), MAX_REASON)
            raise ValueError(f'start {name}: {reason}') from error


def execute_all(runs: Sequence[Run],
                args: argparse.Namespace) -> List[Result]:
    """Execute runs, ``args.jobs`` at a time; results in their order."""
    with ThreadPoolExecutor(args.jobs) as pool:
        return list(pool.map(lambda run: execute(run, args), runs))


def execute(run: Run, args: argparse.Namespace) -> Result:
    """Train and test, unless that is done.

    Raises:
        RunError: If it fails, or was done with other settings.
    """
    folder = osp.join(args.work_dir, run.folder)
    options = args.cfg_options + run.options
    done = osp.join(folder, 'sweep.json')
    if osp.exists(done):
        with open(done) as file:
            found = json.load(file)
        if found['options'] != options:
            raise RunError(
                f'{folder} is a run with {" ".join(found["options"])}, not '
                f'with {" ".join(options)}: remove it, or choose another '
                '--work-dir')
        return Result(found['top1'], found.get('minutes'))
    os.makedirs(folder, exist_ok=True)
    common = ['--work-dir', folder]
    if run.fold is not None:
        common += ['--fold', str(run.fold)]
    if args.data_root:
        common += ['--data-root', args.data_root]
    if options:
        common += ['--cfg-options', *options]
    log = osp.join(folder, 'sweep.log')
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))

    def call(*command: str) -> None:
        result = subprocess.run(
            [sys.executable, '-m', 'mmlcr_cli', *command, *common],
            stdout=file,
            stderr=file,
            env=environment)
        if result.returncode:
            raise RunError(f'{run.folder} failed, see {log}')

    with open(log, 'w') as file:
        start = time.monotonic()
        call('train', run.config, '--seed', str(run.seed),
             *run.train_options)
        minutes = (time.monotonic() - start) / 60
        call('test', run.config, checkpoint(folder))
    reports = sorted(glob.glob(osp.join(folder, '*', '[0-9]*.json')))
    with open(reports[-1]) as file:
        top1 = 100 * json.load(file)['acc/top1']
    with open(done, 'w') as file:
        json.dump(dict(top1=top1, minutes=minutes, options=options), file)
    print(f'{run.folder}: {top1:.1f}', flush=True)
    return Result(top1, minutes)


def checkpoint(folder: str) -> str:
    """Return the best checkpoint if validation chose one, else the last."""
    best = glob.glob(osp.join(folder, 'best_*.pth'))
    if best:
        return best[0]
    with open(osp.join(folder, 'last_checkpoint')) as file:
        return file.read().strip()


def summarize(runs: Sequence[Run], results: Sequence[Result]) -> Summary:
    """Summarize the runs of a variant."""
    by_fold: Dict[Optional[int], List[float]] = {}
    for run, result in zip(runs, results):
        by_fold.setdefault(run.fold, []).append(result.top1)
    middle, spread = mean_and_spread(
        (run.seed, result.top1) for run, result in zip(runs, results))
    return Summary([mean(by_fold[fold]) for fold in folds_of(runs)], middle,
                   spread, min(result.top1 for result in results))


def mean_and_spread(
        results: Iterable[Tuple[int, float]]) -> Tuple[float, Optional[float]]:
    """Average results over the folds of a seed, then over the seeds.

    Args:
        results (Iterable[tuple[int, float]]): The seed of each run, and its
            result.

    Returns:
        tuple[float, float | None]: The mean of the seeds, and their standard
        deviation, which is None for a single seed.
    """
    by_seed: Dict[int, List[float]] = {}
    for seed, result in results:
        by_seed.setdefault(seed, []).append(result)
    means = [mean(found) for found in by_seed.values()]
    return mean(means), stdev(means) if len(means) > 1 else None


def folds_of(runs: Sequence[Run]) -> List[int]:
    """The folds of runs, in order; none for a config without folds."""
    return sorted({run.fold for run in runs if run.fold is not None})


def columns(runs: Sequence[Run]) -> List[str]:
    """The names of :attr:`Summary.cells`."""
    return [*(f'fold {fold}' for fold in folds_of(runs)), 'mean',
            'spread of seeds']


def markdown_table(header: Sequence[str],
                   rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [header, ['---'] * len(header), *rows]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def table(runs: Sequence[Run], results: Sequence[Result]) -> str:
    """Format accuracies as a Markdown table, a row a variant."""
    rows = []
    for variant in dict.fromkeys(run.variant for run in runs):
        mine = [(r, x) for r, x in zip(runs, results) if r.variant == variant]
        rows.append(
            [variant, *summarize(*zip(*mine)).cells, str(len(mine))])
    return markdown_table(['variant', *columns(runs), 'runs'], rows)


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    plan: Dict[str, List[str]] = {'default': []}
    if args.plan:
        with open(args.plan) as file:
            plan = yaml.safe_load(file)
    names = args.only or list(plan)
    for name in names:
        if name not in plan:
            sys.exit(f'no variant {name!r} in {args.plan}, there are '
                     f'{list(plan)}')
    runs = [  # each once
        Run(name, args.config, plan[name] or [], fold, seed)
        for seed in dict.fromkeys(args.seeds) for name in dict.fromkeys(names)
        for fold in dict.fromkeys(args.folds)
    ]
    text = table(runs, execute_all(runs, args))
    with open(osp.join(args.work_dir, 'table.md'), 'w') as file:
        file.write(text)
    print(text)
