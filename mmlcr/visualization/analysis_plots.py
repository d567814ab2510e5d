# Copyright (c) The mmlcr authors. All rights reserved.
"""Plots of the results of :mod:`mmlcr.visualization.analysis`."""
import math
from typing import TYPE_CHECKING, Dict, Sequence, Tuple, Union

import numpy as np

from .analysis import ClassAccuracy, ClassPrecision, Curves
from .scores import new_figure
from .text import text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NUMBERS = 30  # classes up to which the cells show their counts
INCHES, SMALL_INCHES = 0.42, 0.095  # side of a cell with a count, and without
SIDE = 2.5  # minimum of the matrix in inches, for the colour bar
SMALL_FONT = 5.5  # points; fits a small cell
# panels of the curves: title, scalars, whether the axis is logarithmic
PANELS: Tuple[Tuple[str, Tuple[str, ...], bool], ...] = (
    ('loss', ('loss', ), True),
    ('learning rate', ('lr', ), False),
    ('gradient norm', ('grad_norm', ), True),
    ('accuracy in validation', ('acc/top1', 'acc/top5'), False),
)


def plot_curves(runs: Dict[str, Curves]) -> 'Figure':
    """Plot loss, learning rate, gradient norm and accuracy of some runs.

    Args:
        runs (dict): Curves by the name of the run; all are in one plot.
    """
    figure = new_figure(10, 6)
    panels = figure.subplots(2, 2, sharex=True).flatten()
    styles = dict(zip(PANELS[-1][1], ('o-', '^:')))
    for panel, (title, names, is_log) in zip(panels, PANELS):
        drawn = 0
        for index, (run, curves) in enumerate(runs.items()):
            for name in names:
                if name not in curves:
                    continue
                label = run if len(names) == 1 else f'{run}, {name}'
                panel.plot(
                    *curves[name], styles.get(name, '-'), color=f'C{index}',
                    markersize=4, label=label)
                drawn += 1
        panel.set_title(title)
        panel.grid(alpha=0.3)
        if not drawn:
            panel.text(0.5, 0.5, 'not logged', ha='center', va='center',
                       transform=panel.transAxes, color='grey')
        elif is_log:
            panel.set_yscale('log')
            panel.yaxis.set_major_formatter('{x:g}')
            panel.yaxis.set_minor_formatter(_between_powers)
        elif title.startswith('accuracy'):
            panel.set_ylim(0, 1.02)
        if drawn > 1 or title.startswith('accuracy') and drawn:
            panel.legend(frameon=False, fontsize='small')
    for panel in panels[-2:]:
        panel.set_xlabel('iteration')
    return figure


def plot_confusion(counts: np.ndarray, names: Sequence[str],
                   title: str) -> 'Figure':
    """Plot a confusion matrix, normalised by the true classes (rows).

    Args:
        counts (np.ndarray): Shape ``(classes, classes)``. The cells show the
            counts if there are at most ``MOST_NUMBERS`` classes.
        names (Sequence[str]): Class names.
        title (str): Title of the figure.
    """
    from matplotlib.colors import PowerNorm
    clips = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(clips, 1)
    is_small = len(names) <= MOST_NUMBERS
    font = 9. if is_small else SMALL_FONT
    longest = max(text_width(name, font) for name in names)
    side = max(SIDE, len(names) * (INCHES if is_small else SMALL_INCHES))
    figure = new_figure(side + longest + 1.6, side + longest + 1)
    axes = figure.add_subplot()
    # with many cells, small shares would be invisible on a linear scale
    image = axes.imshow(
        shares, cmap='Blues', norm=PowerNorm(1 if is_small else 0.5, 0, 1))
    positions = range(len(names))
    axes.set_xticks(positions, names, rotation=90, fontsize=font)
    axes.set_yticks(positions, names, fontsize=font)
    axes.set(xlabel='predicted class', ylabel='true class')
    axes.set_title(title, fontsize=10)
    if is_small:
        for row, col in zip(*np.nonzero(counts)):
            axes.text(
                col, row, counts[row, col], ha='center', va='center',
                fontsize=font,
                color='white' if shares[row, col] > 0.5 else 'black')
    else:
        axes.tick_params(length=1, pad=1)
    figure.colorbar(
        image, label='share of the clips of the true class', fraction=0.04,
        pad=0.02, aspect=30)
    return figure


def plot_classes(found: Sequence[Union[ClassAccuracy, ClassPrecision]],
                 title: str) -> 'Figure':
    """Plot accuracy or average precision by class as bars, in order given."""
    found = [c for c in found if c.clips]
    is_small = len(found) <= MOST_NUMBERS
    figure = new_figure(6.5, 1.2 + len(found) * (0.26 if is_small else 0.13))
    axes = figure.add_subplot()
    positions = range(len(found))
    values = [c.value for c in found]
    axes.barh(positions, values, color='tab:blue', height=0.7)
    font = 9. if is_small else 6.5
    axes.set_yticks(positions, [c.name for c in found], fontsize=font)
    for position, c in zip(positions, found):
        axes.text(1.01, position, str(c), va='center', fontsize=font)
    mean = float(np.mean(values))
    axes.axvline(mean, color='black', linewidth=1, linestyle=':')
    axes.set(xlim=(0, 1), ylim=(-0.6, len(found) - 0.4))
    measure = 'average precision' if isinstance(
        found[0], ClassPrecision) else 'accuracy'
    axes.set_xlabel(f'{measure}; dotted: mean of the classes, {mean:.3f}')
    axes.set_title(title, fontsize=10)
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def plot_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str],
               title: str) -> 'Figure':
    """Plot pictures in rows of five, each with a caption.

    Args:
        pictures (Sequence[np.ndarray]): RGB, uint8, of any size.
        captions (Sequence[str]): Caption of each picture.
        title (str): Title of the figure.
    """
    columns = min(5, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = new_figure(2.3 * columns, 2.5 * rows + 0.4)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.axis('off')
    for panel, picture, caption in zip(panels, pictures, captions):
        panel.imshow(picture)
        panel.set_title(caption, fontsize=8)
    return figure


def _between_powers(value: float, position: int) -> str:
    """Label a minor tick of a logarithmic axis: 2, 3 and 6 only."""
    return f'{value:g}' if f'{value:.0e}'[0] in '236' else ''
