# Copyright (c) The mmlcr authors. All rights reserved.
"""Learning curves, and the accuracy of a test class by class."""
import argparse
import csv
import os
import os.path as osp
from typing import List, Sequence, Tuple, Union

import numpy as np
from matplotlib.figure import Figure

from mmlcr.datasets.class_names import class_names
from mmlcr.streaming import middle_frame
from mmlcr.visualization.analysis import (
    ClassAccuracy,
    ClassPrecision,
    MultiLabelPredictions,
    Predictions,
    class_accuracies,
    class_precisions,
    most_confused,
    read_curves,
    read_predictions,
    worst_clips,
)
from mmlcr.visualization.analysis_plots import (
    plot_classes,
    plot_confusion,
    plot_curves,
    plot_sheet,
)
from .errors import INPUT_ERRORS, exit_on
from .launch import load_config


def curves(args: argparse.Namespace) -> None:
    """Plot learning curves."""
    runs = {}
    for path, name in zip(args.paths, short_names(args.paths)):
        runs[name] = read_curves(path)
        for value in ('loss', 'acc/top1'):
            if value in runs[name]:
                steps, values = runs[name][value]
                print(f'{name}: {value} {values[-1]:.4f} at iteration '
                      f'{steps[-1]}')
    save(plot_curves(runs), args.out)


def short_names(paths: List[str]) -> List[str]:
    """Return as many of the last parts of paths as make them distinct."""
    parts = [osp.normpath(path).split(os.sep) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len(names):
            return names
    return [f'{number}: {path}' for number, path in enumerate(paths)]


def confusion(args: argparse.Namespace) -> None:
    """Print and plot which classes are mistaken for which."""
    predictions, names = read(args)
    if isinstance(predictions, MultiLabelPredictions):
        raise ValueError(f'{args.dump}: a confusion matrix needs clips with '
                         'one label each, and these have several; "classes" '
                         'and "worst" take them')
    counts = predictions.confusion()
    right, clips = int(counts.trace()), int(counts.sum())
    print(f'{right} of {clips} clips right, {100 * right / clips:.1f} %')
    for pair in most_confused(counts, args.num):
        print(f'{pair.clips} of {pair.total} '
              f'({100 * pair.clips / pair.total:.0f} %)  '
              f'{names[pair.true]} taken for {names[pair.predicted]}')
    title = (f'{osp.basename(args.config)}: {right} of {clips} clips right '
             f'({100 * right / clips:.1f} %)')
    save(plot_confusion(counts, names, title), args.out)


def classes(args: argparse.Namespace) -> None:
    """Print, plot and write the accuracy of each class."""
    predictions, names = read(args)
    found: Sequence[Union[ClassAccuracy, ClassPrecision]]
    if isinstance(predictions, MultiLabelPredictions):
        found = class_precisions(predictions, names)
        header = ['class', 'clips', 'average_precision']
        mean = np.nanmean([c.value for c in found])
        print(f'mean average precision: {100 * mean:.1f} %')
    else:
        found = class_accuracies(predictions, names)
        header = ['class', 'clips', 'right', 'accuracy']
    for c in found:
        shown = f'{100 * c.value:5.1f} %' if c.clips else '   no clip'
        print(f'{shown}  {c}  {c.name}')
    if args.csv:
        os.makedirs(osp.dirname(osp.abspath(args.csv)), exist_ok=True)
        with open(args.csv, 'w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([*c[:len(header) - 1], c.value] for c in found)
    if args.out:
        save(plot_classes(found, osp.basename(args.config)), args.out)


def worst(args: argparse.Namespace) -> None:
    """Print and draw the clips with the highest losses."""
    predictions, names = read(args)
    numbers = worst_clips(predictions, args.num)
    captions = []
    for number in numbers:
        true = describe_label(predictions.labels[number], names)
        guess = describe_label(predictions.predicted[number], names)
        outcome = f'taken for {guess}' if guess != true else 'recognized'
        outcome = f'{outcome} ({predictions.scores[number].max():.2f})'
        path = predictions.paths[number] or f'sample {number}'
        print(f'{predictions.losses[number]:.3f}  {true}, {outcome}  {path}')
        captions.append(f'{true}\n{outcome}')
    if args.out:
        paths = [predictions.paths[number] for number in numbers]
        if '' in paths:
            raise ValueError(
                f'{args.dump}, sample {numbers[paths.index("")]}: there is no '
                "path to draw the clip from; only mmlcr's data sets keep it")
        title = f'{osp.basename(args.config)}: highest losses first'
        save(plot_sheet([*map(middle_frame, paths)], captions, title),
             args.out)


def describe_label(label: np.ndarray, names: Sequence[str]) -> str:
    """Return the name of a class number, or those of a many-hot vector."""
    if not label.ndim:
        return names[int(label)]
    return ', '.join(names[int(c)] for c in np.flatnonzero(label)) or 'none'


def read(
    args: argparse.Namespace
) -> Tuple[Union[Predictions, MultiLabelPredictions], Tuple[str, ...]]:
    """Read the predictions, and the names of the classes."""
    names = class_names(load_config(args))
    return read_predictions(args.dump, len(names)), names


def save(figure: Figure, path: str) -> None:
    """Write a picture and print its path."""
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f'picture: {path}')


ANALYSES = dict(
    curves=curves, confusion=confusion, classes=classes, worst=worst)


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    ANALYSES[args.analysis](args)
