# Copyright (c) The mmlcr authors. All rights reserved.
"""A plot of the segments of a stream below its scores."""
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

import numpy as np

from mmlcr.visualization.scores import draw_scores, new_figure
from .segments import Segment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, SCORES, LANE, MARGIN = 9., 3.2, 0.3, 0.7  # inches


def plot_timeline(times: Sequence[float], scores: Sequence[np.ndarray],
                  names: Sequence[str], lines: int,
                  segments: Sequence[Segment]) -> 'Figure':
    """Plot class scores over time, and segments in one lane per class.

    Args:
        times (Sequence[float]): Time of each frame in seconds.
        scores (Sequence[np.ndarray]): Scores of each frame, ``(classes, )``.
        names (Sequence[str]): Names of all classes.
        lines (int): Number of classes whose scores are plotted: those with
            the highest ones.
        segments (Sequence[Segment]): Segments of the stream.
    """
    lanes = lanes_of(segments)
    height = LANE * max(1, len(lanes)) + MARGIN
    figure = new_figure(WIDTH, SCORES + height)
    above, below = figure.subplots(
        2, sharex=True, height_ratios=(SCORES, height))
    drawn = draw_scores(above, times, scores, names, lines, '')
    colours = {str(line.get_label()): line.get_color() for line in drawn}
    draw_lanes(below, segments, lanes, colours)
    below.set_xlim(times[0], max([times[-1], *(s.end for s in segments)]))
    return figure


def lanes_of(segments: Sequence[Segment]) -> List[str]:
    """Return the classes of segments by the time of their first segment."""
    return [*dict.fromkeys(segment.label for segment in sorted(segments))]


def draw_lanes(axes: 'Axes', segments: Sequence[Segment], lanes: List[str],
               colours: Dict[str, Any]) -> None:
    """Draw a bar for each segment, in the colour of its curve or grey."""
    for segment in segments:
        axes.barh(
            lanes.index(segment.label),
            segment.end - segment.start,
            left=segment.start,
            height=0.7,
            color=colours.get(segment.label, 'grey'))
    axes.set(
        xlabel='seconds',
        ylim=(max(1, len(lanes)) - 0.5, -0.5),
        yticks=range(len(lanes)))
    axes.set_yticklabels(lanes)
    axes.spines[['top', 'right']].set_visible(False)
    if not lanes:
        axes.set_ylabel('no segment')
