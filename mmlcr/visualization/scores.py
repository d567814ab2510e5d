# Copyright (c) The mmlcr authors. All rights reserved.
"""Plots of class scores over time."""
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
    """Plot class scores over time.

    Args:
        times (Sequence[float]): Time of each frame.
        scores (Sequence[np.ndarray]): Scores of each frame, ``(classes, )``.
        names (Sequence[str]): Names of all classes.
        lines (int): Number of classes to plot: those with the highest scores
            at any time.
        unit (str): Unit of the times. Defaults to ``'seconds'``.
    """
    figure = new_figure(9, 3.5)
    draw_scores(figure.add_subplot(), times, scores, names, lines, unit)
    return figure


def new_figure(width: float, height: float) -> 'Figure':
    """Create a figure outside of pyplot; sizes are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout='constrained')
    draw = figure.draw

    def draw_any_script(renderer: Any) -> None:
        """Choose fonts once all texts are known."""
        use_fonts(figure)
        draw(renderer)

    # not a subclass: Gradio accepts matplotlib's own class only
    figure.draw = draw_any_script  # type: ignore[method-assign]
    FigureCanvasAgg(figure)
    return figure


def draw_scores(axes: 'Axes', times: Sequence[float],
                scores: Sequence[np.ndarray], names: Sequence[str],
                lines: int, unit: str) -> List['Line2D']:
    """Draw the curves of :func:`plot_scores`, with its arguments."""
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
    """Return the ``num`` classes with the highest scores at any time."""
    highest = np.max(scores, axis=0)
    return np.argsort(-highest, kind='stable')[:num].tolist()
