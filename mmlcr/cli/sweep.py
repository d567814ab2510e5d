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
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, stdev
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

import yaml


class Run(NamedTuple):
    """One training."""
    variant: str
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


def execute(run: Run, args: argparse.Namespace) -> float:
    """Train and test unless done; return the top-1 accuracy in per cent."""
    folder = osp.join(args.work_dir, run.folder)
    done = osp.join(folder, 'sweep.json')
    if osp.exists(done):
        with open(done) as file:
            return json.load(file)['top1']
    os.makedirs(folder, exist_ok=True)
    common = ['--work-dir', folder]
    if run.fold is not None:
        common += ['--fold', str(run.fold)]
    if args.data_root:
        common += ['--data-root', args.data_root]
    options = args.cfg_options + run.options
    if options:
        common += ['--cfg-options', *options]
    log = osp.join(folder, 'sweep.log')
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    train = ['train', args.config, '--seed', str(run.seed)]
    with open(log, 'w') as file:
        for command in ([*train, *run.train_options],
                        ['test', args.config, None]):
            if command[-1] is None:
                command[-1] = checkpoint(folder)
            result = subprocess.run(
                [sys.executable, '-m', 'mmlcr_cli', *command, *common],
                stdout=file,
                stderr=file,
                env=environment)
            if result.returncode:
                raise RuntimeError(f'{run.folder} failed, see {log}')
    reports = sorted(glob.glob(osp.join(folder, '*', '[0-9]*.json')))
    with open(reports[-1]) as file:
        top1 = 100 * json.load(file)['acc/top1']
    with open(done, 'w') as file:
        json.dump(dict(top1=top1, options=options), file)
    print(f'{run.folder}: {top1:.1f}', flush=True)
    return top1


def checkpoint(folder: str) -> str:
    """Return the best checkpoint if validation chose one, else the last."""
    best = glob.glob(osp.join(folder, 'best_*.pth'))
    if best:
        return best[0]
    with open(osp.join(folder, 'last_checkpoint')) as file:
        return file.read().strip()


def table(runs: List[Run], results: List[float]) -> str:
    """Format accuracies as a Markdown table, a row a variant."""
    folds = sorted({run.fold for run in runs if run.fold is not None})
    rows = ['| variant | ' + ''.join(f'fold {f} | ' for f in folds) +
            'mean | spread of seeds | runs |',
            '|---|' + '---|' * (len(folds) + 3)]
    for variant in dict.fromkeys(run.variant for run in runs):
        mine = [(r, x) for r, x in zip(runs, results) if r.variant == variant]
        cells = [
            f'{mean(x for r, x in mine if r.fold == fold):.1f}'
            for fold in folds
        ]
        middle, spread = mean_and_spread((r.seed, x) for r, x in mine)
        cells += [
            f'**{middle:.1f}**', '' if spread is None else f'{spread:.1f}',
            str(len(mine))
        ]
        rows.append(f'| {variant} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(rows) + '\n'


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
        Run(name, plan[name] or [], fold, seed)
        for seed in dict.fromkeys(args.seeds) for name in dict.fromkeys(names)
        for fold in dict.fromkeys(args.folds)
    ]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda run: execute(run, args), runs))
    text = table(runs, results)
    with open(osp.join(args.work_dir, 'table.md'), 'w') as file:
        file.write(text)
    print(text)
