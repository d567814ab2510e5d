# Copyright (c) The mmlcr authors. All rights reserved.
"""Class scores over time, as a plot."""
from typing import TYPE_CHECKING, Any, List, Sequence

import numpy as np

from .text import use_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


def plot_scores(times: Sequence[float],
                scores: Sequence[np.ndarray],
                names: Sequence[str],
                lines: int,
                unit: str = 'seconds') -> 'Figure':
    """Class scores over time.

    Args:
        times (Sequence[float]): Of the frames.
        scores (Sequence[np.ndarray]): Of each, ``(classes, )``.
        names (Sequence[str]): Of all classes.
        lines (int): How many are shown: those with the highest scores at any
            time.
        unit (str): Of the times. Defaults to ``'seconds'``.

    Returns:
        Figure: Of matplotlib.
    """
    figure = new_figure(9, 3.5)
    draw_scores(figure.add_subplot(), times, scores, names, lines, unit)
    return figure


def new_figure(width: float, height: float) -> 'Figure':
    """A figure of so many inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout='constrained')
    draw = figure.draw

    def draw_any_script(renderer: Any) -> None:
        """Choose fonts when all texts are there."""
        use_fonts(figure)
        draw(renderer)

    # no class of our own: Gradio takes those of matplotlib alone
    figure.draw = draw_any_script  # type: ignore[method-assign]
    FigureCanvasAgg(figure)
    return figure


def draw_scores(axes: 'Axes', times: Sequence[float],
                scores: Sequence[np.ndarray], names: Sequence[str],
                lines: int, unit: str) -> List['Line2D']:
    """The curves of :func:`plot_scores`, which tells the arguments."""
    curves = np.stack(scores, axis=1)  # (classes, points)
    drawn = [
        axes.plot(times, curves[index], label=names[index])[0]
        for index in best_classes(scores, lines)
    ]
    axes.set(
        xlabel=unit,
        ylabel='score',
        ylim=(min(0, curves.min()), max(1, curves.max())))
    axes.margins(x=0)
    axes.legend(loc='upper left', bbox_to_anchor=(1, 1), frameon=False)
    return drawn


def best_classes(scores: Sequence[np.ndarray], num: int) -> List[int]:
    """Numbers of those with the highest scores at any time."""
    highest = np.max(scores, axis=0)
    return np.argsort(-highest, kind='stable')[:num].tolist()
