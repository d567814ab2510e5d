# Copyright (c) The mmlcr authors. All rights reserved.
"""Plots of accuracy over what was varied between trainings."""
from statistics import mean
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Sequence

from .scores import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = 0.35  # opacity of a single run


class AccuracyPanel(NamedTuple):
    """A panel of :func:`plot_accuracy`."""
    title: str
    axis: str  # what was varied
    is_log: bool
    # by the label of the line and the place on the axis: accuracy of each
    # run in per cent
    lines: Dict[str, Dict[int, List[float]]]


def plot_accuracy(panels: Sequence[AccuracyPanel],
                  chance: float) -> 'Figure':
    """Plot accuracies side by side, the mean as a line, each run as a dot.

    Args:
        panels (Sequence[AccuracyPanel]): What is plotted, from left to right.
        chance (float): Accuracy of a guess in per cent.
    """
    figure = new_figure(5 * len(panels), 4.5)
    for axes, panel in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0],
            panels):
        _draw_panel(axes, panel)
        axes.axhline(
            chance, color='black', linewidth=1, linestyle=':',
            label=f'chance, {chance:.1f} %')
        axes.legend(frameon=False, fontsize='small', ncols=3,
                    loc='upper center', bbox_to_anchor=(0.5, -0.15))
        axes.set_ylim(0, 102)
    figure.axes[0].set_ylabel('top-1 accuracy (%)')
    return figure


def _draw_panel(axes: 'Axes', panel: AccuracyPanel) -> None:
    """Draw the lines of a panel and its axis, with a tick at each place."""
    for index, (label, points) in enumerate(panel.lines.items()):
        places = sorted(points)
        axes.plot(
            places, [mean(points[place]) for place in places], 'o-',
            color=f'C{index}', markersize=5, label=label)
        for place in places:
            axes.plot([place] * len(points[place]), points[place], 'o',
                      color=f'C{index}', markersize=4, alpha=FAINT,
                      markeredgewidth=0)
    if panel.is_log:
        axes.set_xscale('log')
    ticks = sorted({place for points in panel.lines.values()
                    for place in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(panel.axis)
    axes.set_title(panel.title, fontsize=10)
    axes.grid(alpha=0.3)
