# Copyright (c) The mmlcr authors. All rights reserved.
"""Train and test a config over variants, folds and seeds; tabulate top-1.

Every run is ``tools/train.py`` and ``tools/test.py`` in a folder of its own.
Finished runs are not repeated, so that a sweep goes on where it stopped.
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
from typing import Dict, List, NamedTuple, Optional

import yaml

TOOLS = osp.dirname(osp.abspath(__file__))


class Run(NamedTuple):
    """One training."""
    variant: str
    options: List[str]  # of --cfg-options
    fold: Optional[int]
    seed: int

    @property
    def folder(self) -> str:
        """Name of its folder."""
        name = ''.join(c if c.isalnum() else '_' for c in self.variant)
        fold = '' if self.fold is None else f'_fold{self.fold}'
        return f'{name}{fold}_seed{self.seed}'


def execute(run: Run, args: argparse.Namespace) -> float:
    """Train and test, unless done; the top-1 accuracy in per cent."""
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
    with open(log, 'w') as file:
        for command in (['train.py', args.config, '--seed',
                         str(run.seed)], ['test.py', args.config, None]):
            if command[-1] is None:
                command[-1] = checkpoint(folder)
            result = subprocess.run(
                [sys.executable,
                 osp.join(TOOLS, command[0]), *command[1:], *common],
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
    """The best checkpoint where validation chose one, else the last."""
    best = glob.glob(osp.join(folder, 'best_*.pth'))
    if best:
        return best[0]
    with open(osp.join(folder, 'last_checkpoint')) as file:
        return file.read().strip()


def table(runs: List[Run], results: List[float]) -> str:
    """A Markdown table, a row a variant."""
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
        by_seed: Dict[int, List[float]] = {}
        for run, x in mine:
            by_seed.setdefault(run.seed, []).append(x)
        means = [mean(x) for x in by_seed.values()]
        spread = f'{stdev(means):.1f}' if len(means) > 1 else ''
        cells += [f'**{mean(means):.1f}**', spread, str(len(mine))]
        rows.append(f'| {variant} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(rows) + '\n'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train and test a config over variants, folds and seeds, '
        'and tabulate top-1 accuracy')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--plan',
        help='YAML file: name of a variant -> list of key=value settings')
    parser.add_argument(
        '--only', nargs='+', help='only these variants of the plan')
    parser.add_argument('--folds', type=int, nargs='+', default=[None])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--data-root', help='as in tools/train.py')
    parser.add_argument('--work-dir', required=True)
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs side by side')
    parser.add_argument('--threads', type=int, default=1, help='of a run')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        help='key=value settings of every run')
    args = parser.parse_args()
    if args.only and not args.plan:
        parser.error('--only: the variants are those of a --plan')
    for name in 'jobs', 'threads':
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be positive')
    return args


def main() -> None:
    args = parse_args()
    plan: Dict[str, List[str]] = {'default': []}
    if args.plan:
        with open(args.plan) as file:
            plan = yaml.safe_load(file)
    names = args.only or list(plan)
    for name in names:
        if name not in plan:
            sys.exit(f'sweep: no variant {name!r} in {args.plan}, there are '
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


if __name__ == '__main__':
    main()
