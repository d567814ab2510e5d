# Copyright (c) The mmlcr authors. All rights reserved.
"""Measure accuracy over the number of groups and of steps in training.

A run trains from one start on the clips of some groups, without validation,
and tests its last checkpoint on the whole test list. It is executed as those
of ``mmlcr sweep``.
"""
import argparse
import json
import os.path as osp
from typing import Any, Dict, List, Sequence, Tuple

from mmlcr.engine import atomic_write
from mmlcr.visualization.accuracy_plots import AccuracyPanel, plot_accuracy
from .curve_runs import (
    Point,
    Training,
    check_finished,
    check_starts,
    count,
    plan,
    read_train_list,
)
from .errors import INPUT_ERRORS, exit_on
from .sweep import RunError, execute_all, markdown_table, mean_and_spread

Curve = List[Point]


def curves_over_groups(args: argparse.Namespace) -> List[Curve]:
    """Return a curve for the most steps, or for each number of steps."""
    steps = sorted({*args.steps})
    return [[Point(number, fixed) for number in sorted({*args.groups})]
            for fixed in (steps if args.product else steps[-1:])]


def curves_over_steps(args: argparse.Namespace) -> List[Curve]:
    """Return a curve for all groups, or for each number of groups."""
    groups = sorted({*args.groups}) if args.product else [None]
    return [[Point(fixed, number) for number in sorted({*args.steps})]
            for fixed in groups]


def starts_of(trainings: Sequence[Training]) -> List[str]:
    """Return the names of the starts, in the order of the first runs."""
    return [*dict.fromkeys(training.start for training in trainings)]


def runs_at(trainings: Sequence[Training], start: str,
            point: Point) -> List[Tuple[int, float]]:
    """Return the seed and the accuracy of each run of a start at a point."""
    return [(t.run.seed, t.top1) for t in trainings
            if t.start == start and t.is_at(point)]


def table(trainings: Sequence[Training], points: Sequence[Point]) -> str:
    """Format accuracies as a Markdown table, a row a start."""
    rows = []
    for start in starts_of(trainings):
        row = [start]
        for point in points:
            mean, spread = mean_and_spread(runs_at(trainings, start, point))
            row.append(f'{mean:.1f}' if spread is None else
                       f'{mean:.1f} ± {spread:.1f}')
        rows.append(row)
    notes = dict.fromkeys(
        f'With {count(len(t.groups), "group")}, {count(t.steps, "step")} are '
        f'{t.exact_steps}: {count(t.epochs, "epoch")} of {t.iterations}.'
        for t in trainings if t.exact_steps != t.steps)
    return markdown_table(['start', *map(str, points)], rows) + '\n'.join([
        '', 'Top-1 accuracy in per cent: mean of the runs ± deviation of the '
        'seeds.', *notes, ''])


def panel(trainings: Sequence[Training], curves: Sequence[Curve], axis: str,
          fixed: str) -> AccuracyPanel:
    """Return a panel of the plot, with a line for each start and curve.

    Args:
        trainings (Sequence[Training]): All runs.
        curves (Sequence[Curve]): The curves of a start.
        axis (str): The field of a point that varies along a curve.
        fixed (str): The field of a point that is the same along a curve.
    """
    lines: Dict[str, Dict[int, List[float]]] = {}
    names = [count(getattr(curve[0], fixed), fixed[:-1]) for curve in curves]
    for start in starts_of(trainings):
        for name, curve in zip(names, curves):
            label = start if len(curves) == 1 else f'{start}, {name}'
            lines[label] = {
                getattr(point, axis):
                [top1 for _, top1 in runs_at(trainings, start, point)]
                for point in curve
            }
    title = names[0] if len(curves) == 1 else ''
    return AccuracyPanel(title, f'{axis} in training', axis == 'steps', lines)


def as_json(training: Training) -> Dict[str, Any]:
    """Return what ``results.json`` has of a run."""
    run = training.run
    return dict(
        start=training.start, groups=training.groups, steps=training.steps,
        exact_steps=training.exact_steps, epochs=training.epochs,
        clips=len(training.lines), fold=run.fold, seed=run.seed,
        top1=training.top1, folder=run.folder, options=run.options)


def write_results(args: argparse.Namespace, trainings: Sequence[Training],
                  chance: float) -> str:
    """Write ``table.md``, ``results.json`` and ``curve.png``.

    Returns:
        str: The table.
    """
    over_groups, over_steps = curves_over_groups(args), curves_over_steps(args)
    text = table(trainings, points_of(args))
    found = dict(chance=chance, runs=[as_json(t) for t in trainings])
    for name, content in (('table.md', text),
                          ('results.json', json.dumps(found, indent=1))):
        atomic_write(content.encode(), osp.join(args.work_dir, name))
    plot_accuracy([
        panel(trainings, over_groups, 'groups', 'steps'),
        panel(trainings, over_steps, 'steps', 'groups')
    ], chance).savefig(osp.join(args.work_dir, 'curve.png'), dpi=120)
    return text


def points_of(args: argparse.Namespace) -> List[Point]:
    """Return the points of all curves, each once."""
    curves = curves_over_groups(args) + curves_over_steps(args)
    return [*dict.fromkeys(point for curve in curves for point in curve)]


@exit_on(*INPUT_ERRORS, RunError)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    lists = [read_train_list(args, fold) for fold in dict.fromkeys(args.folds)]
    trainings = plan(args, lists, points_of(args))
    check_starts(args, trainings)
    check_finished(args, trainings)
    for path, lines in {t.list_path: t.lines for t in trainings}.items():
        atomic_write('\n'.join([*lines, '']).encode(), path)
    results = execute_all([training.run for training in trainings], args)
    trainings = [training._replace(top1=result.top1)
                 for training, result in zip(trainings, results)]
    print(write_results(args, trainings, 100 / lists[0].num_classes))
