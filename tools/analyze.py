# Copyright (c) The mmlcr authors. All rights reserved.
"""Learning curves, and what a test's predictions are worth, class by class."""
import argparse
import csv
import os
import os.path as osp
import sys
from typing import TYPE_CHECKING, List, Sequence, Tuple, Union

import numpy as np

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import add_config_arguments
from mmlcr.cli.launch import load_config
from mmlcr.datasets.class_names import class_names
from mmlcr.engine import UnreadableFileError
from mmlcr.streaming import middle_frame
from mmlcr.video import SourceError
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(args: argparse.Namespace) -> None:
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
    """The last parts of paths, as many as tell them apart."""
    parts = [osp.normpath(path).split(os.sep) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len(names):
            return names
    return [f'{number}: {path}' for number, path in enumerate(paths)]


def confusion(args: argparse.Namespace) -> None:
    predictions, names = read(args)
    if isinstance(predictions, MultiLabelPredictions):
        raise ValueError(f'{args.dump}: a confusion matrix is of clips with '
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
    predictions, names = read(args)
    numbers = worst_clips(predictions, args.num)
    captions = []
    for number in numbers:
        true = named(predictions.labels[number], names)
        guess = named(predictions.predicted[number], names)
        told = f'taken for {guess}' if guess != true else 'recognized'
        told = f'{told} ({predictions.scores[number].max():.2f})'
        path = predictions.paths[number] or f'sample {number}'
        print(f'{predictions.losses[number]:.3f}  {true}, {told}  {path}')
        captions.append(f'{true}\n{told}')
    if args.out:
        paths = [predictions.paths[number] for number in numbers]
        if '' in paths:
            raise ValueError(
                f'{args.dump}, sample {numbers[paths.index("")]}: no path in '
                'it, as of data sets that are not of mmlcr; no clip to draw')
        title = f'{osp.basename(args.config)}: highest losses first'
        save(plot_sheet([*map(middle_frame, paths)], captions, title),
             args.out)


def named(label: np.ndarray, names: Sequence[str]) -> str:
    """The class of a number, or those of a many-hot vector."""
    if not label.ndim:
        return names[label]
    return ', '.join(names[c] for c in np.flatnonzero(label)) or 'none'


def read(args: argparse.Namespace
         ) -> Tuple[Union[Predictions, MultiLabelPredictions],
                    Tuple[str, ...]]:
    """Predictions, and the names of the classes."""
    names = class_names(load_config(args))
    return read_predictions(args.dump, len(names)), names


def save(figure: 'Figure', path: str) -> None:
    """Write a picture, and say where."""
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f'picture: {path}')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Analyse the log of a training, or the predictions that '
        'tools/test.py --dump wrote')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    command = commands.add_parser(
        'curves', help='loss, learning rate, gradient norm and accuracy')
    command.add_argument(
        'paths', nargs='+', metavar='LOG_OR_WORK_DIR',
        help='work dirs, or their */vis_data/scalars.json; several are drawn '
        'over each other')
    command.add_argument('--out', default='curves.png')
    command.set_defaults(run=curves)
    for run, told in ((confusion, 'which classes are taken for which'),
                      (classes, 'accuracy of each class, the worst first; '
                       'average precision of clips with several labels'),
                      (worst, 'clips with the highest losses')):
        command = commands.add_parser(run.__name__, help=told)
        command.add_argument('config', help='config file')
        command.add_argument('dump', help='predictions of tools/test.py')
        add_config_arguments(command)
        command.set_defaults(run=run)
        if run is confusion:
            command.add_argument('--out', default='confusion.png')
        else:
            command.add_argument('--out', help='picture to write')
        if run is classes:
            command.add_argument('--csv', help='table to write')
        else:
            command.add_argument(
                '--num', type=int, default=20,
                help='pairs of classes, or clips, that are named; default: '
                '%(default)s')
    args = parser.parse_args()
    if getattr(args, 'num', 1) < 1:
        parser.error(f'--num must be positive, got {args.num}')
    return args


def main() -> int:
    args = parse_args()
    try:
        args.run(args)
    except (OSError, SourceError, UnreadableFileError, ValueError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
