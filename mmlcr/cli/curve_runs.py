# Copyright (c) The mmlcr authors. All rights reserved.
"""The runs of ``mmlcr curve``: what each trains on, and for how long.

Training ends after whole epochs: the first epoch that reaches the number of
steps is the last one.
"""
import argparse
import json
import math
import os.path as osp
from itertools import product
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mmengine.config import Config

from mmaction.registry import DATASETS
from mmlcr.datasets import Clip, read_lines
from mmlcr.datasets.annotations import LineParser
from mmlcr.datasets.clips import with_groups
from .sweep import Run, check_start, read, start_options


class Point(NamedTuple):
    """A point of a curve."""
    groups: Optional[int]  # None: all
    steps: int

    def __str__(self) -> str:
        return f'{count(self.groups, "group")}, {count(self.steps, "step")}'


class TrainList(NamedTuple):
    """The training list of a fold."""
    config: Config
    fold: Optional[int]
    lines: List[str]
    groups: List[str]  # of each line
    batch_size: int
    drop_last: bool
    num_classes: int


class Training(NamedTuple):
    """A run, and what it trains on."""
    run: Run
    list_path: str
    lines: List[str]
    start: str
    groups: List[str]
    has_all: bool  # groups of the fold
    steps: int  # as asked for
    epochs: int
    iterations: int  # of an epoch
    top1: float = math.nan  # in per cent, once it is executed

    @property
    def exact_steps(self) -> int:
        """The number of steps at the end of the last epoch."""
        return self.epochs * self.iterations

    def is_at(self, point: Point) -> bool:
        """Whether a point of a curve is made of this run."""
        return self.steps == point.steps and (
            self.has_all if point.groups is None else
            len(self.groups) == point.groups)


def count(number: Optional[int], noun: str) -> str:
    """Return a number with its noun; all of them for None."""
    ending = '' if number == 1 else 's'
    return f'{"all" if number is None else number} {noun}{ending}'


def choose_groups(groups: Sequence[str], number: int, seed: int) -> List[str]:
    """Choose consecutive groups, in alphabetical order and around its end.

    The first group depends on the seed. Those of the seeds 0, 1 and 2 are a
    third of all groups apart, and those of further seeds lie between them. A
    larger number of groups includes those of a smaller number and that seed.

    Raises:
        ValueError: If there are fewer groups.
    """
    ordered = sorted({*groups})
    total = len(ordered)
    if number > total:
        raise ValueError(f'--groups {number}: in training there is no more '
                         f'than {count(total, "group")}')
    stride = max(1, total // 3)
    firsts = [first for offset in range(stride)
              for first in range(offset, total, stride)]
    first = firsts[seed % total]
    return [ordered[(first + i) % total] for i in range(number)]


def epochs_and_iterations(clips: int, steps: int, batch_size: int,
                          drop_last: bool) -> Tuple[int, int]:
    """Return the epochs that reach some steps, and iterations of an epoch.

    Raises:
        ValueError: If the clips are less than a batch that is not dropped.
    """
    iterations = clips // batch_size if drop_last else math.ceil(
        clips / batch_size)
    if not iterations:
        raise ValueError(f'{clips} clips are no batch of {batch_size} with '
                         'drop_last=True')
    return math.ceil(steps / iterations), iterations


def read_train_list(args: argparse.Namespace,
                    fold: Optional[int]) -> TrainList:
    """Read the training list of a fold, with the group of each line.

    Raises:
        ValueError: If the config has no list, or the pattern finds no group.
        ClipError: If the list or a line of it can't be read.
    """
    config = read(args, args.config, fold)
    loader = config.train_dataloader
    path = loader.dataset.get('ann_file')
    if not path:
        raise ValueError(f'{args.config} has no list of training clips, '
                         'train_dataloader.dataset.ann_file')
    num_classes = config.model.cls_head.num_classes
    parser = LineParser(
        getattr(DATASETS.get(loader.dataset.type), 'line_format',
                'path label'),
        num_classes,
        multi_class=loader.dataset.get('multi_class', False),
        test_mode=False,
        delimiter=loader.dataset.get('delimiter'))
    lines = [line for line in read_lines(path) if line]
    paths = [parser.parse(line, path).path for line in lines]
    clips = with_groups([Clip(p, '', p) for p in paths], args.group_pattern)
    return TrainList(config, fold, lines, [clip.group for clip in clips],
                     loader.batch_size, loader.get('drop_last', False),
                     num_classes)


def plan(args: argparse.Namespace, lists: Sequence[TrainList],
         points: Sequence[Point]) -> List[Training]:
    """Return each run that the points need once.

    Raises:
        ValueError: If there are too few groups, or less than a batch of
            clips.
    """
    found: Dict[str, Training] = {}
    for seed, start, train_list, point in product(args.seeds, args.starts,
                                                  lists, points):
        training = training_at(args, point, seed, start, train_list)
        found.setdefault(training.run.folder, training)
    return [*found.values()]


def training_at(args: argparse.Namespace, point: Point, seed: int,
                start: Tuple[str, Optional[str]],
                train_list: TrainList) -> Training:
    """Return the run of a point, a seed, a start and a fold."""
    total = len({*train_list.groups})
    number = total if point.groups is None else point.groups
    groups = choose_groups(train_list.groups, number, seed)
    lines = [line for line, group in zip(train_list.lines, train_list.groups)
             if group in groups]
    epochs, iterations = epochs_and_iterations(
        len(lines), point.steps, train_list.batch_size, train_list.drop_last)
    name, checkpoint = start
    fold = '' if train_list.fold is None else f'fold{train_list.fold}_'
    path = osp.join(osp.abspath(args.work_dir), 'lists',
                    f'{fold}{number}groups_seed{seed}.txt')
    options = [
        f'train_dataloader.dataset.ann_file={path}',
        f'max_epochs={epochs}',
        f'default_hooks.checkpoint.interval={epochs}',
        'default_hooks.checkpoint.by_epoch=True',
        'load_from=None',
        *start_options(train_list.config, checkpoint),
    ]
    run = Run(
        f'{name}_{number}groups_{point.steps}steps', args.config, options,
        train_list.fold, seed, train_options=('--no-validate', ))
    return Training(run, path, lines, name, groups, number == total,
                    point.steps, epochs, iterations)


def check_starts(args: argparse.Namespace,
                 trainings: Sequence[Training]) -> None:
    """Check that the first run of each start can have its settings.

    Raises:
        OverrideError: If the config can not have one of them.
        ValueError: If a setting has another effect, or the checkpoint is
            missing or has the weights of another model.
    """
    for training in {t.start: t for t in reversed(trainings)}.values():
        config = read(args, args.config, training.run.fold,
                      training.run.options)
        epochs = config.train_cfg.max_epochs
        path = config.train_dataloader.dataset.ann_file
        if epochs != training.epochs:
            raise ValueError(
                f'{args.config} would train for {epochs} epochs with '
                f'max_epochs={training.epochs}: it must make the epochs and '
                'the schedule of this variable')
        if path != training.list_path:
            raise ValueError(f'--work-dir {args.work_dir}: a path without '
                             'spaces, commas and quotes is needed')
        check_start(config, training.start)


def check_finished(args: argparse.Namespace,
                   trainings: Sequence[Training]) -> None:
    """Check that finished runs are those of these arguments.

    Raises:
        ValueError: If one has other clips or settings.
    """
    for training in trainings:
        done = osp.join(args.work_dir, training.run.folder, 'sweep.json')
        if not osp.exists(done):
            continue
        with open(done) as file:
            options = json.load(file)['options']
        if (options != [*args.cfg_options, *training.run.options]
                or read_lines(training.list_path) != training.lines):
            raise ValueError(f'{args.work_dir} has {training.run.folder} with '
                             'other clips or settings: choose another '
                             '--work-dir')
