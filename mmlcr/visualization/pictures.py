# Copyright (c) The mmlcr authors. All rights reserved.
"""Sheets and films of a clip: rows of pictures and scores over time."""
from typing import (
    TYPE_CHECKING,
    Callable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import cv2
import numpy as np
import torch
from torch import Tensor

from .maps import NARROWEST_RANGE, Maps, draw_heat
from .scores import best_classes, draw_scores, new_figure
from .text import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MASKED = 0.15  # brightness of a masked patch, relative to the picture
DIM = 0.6  # brightness of a picture under a heat map
LARGEST = 1.35  # inches of the longer side of a picture in the sheet
LARGEST_IN_FILM = 2.1
SCORES = 1.7  # height of the score plot in inches
GAP = 0.06  # inches between pictures
LEGEND, LEGEND_FONT = 0.7, 8.  # inches beside the names, font size in points
FILM_DPI = 100


class Bar(NamedTuple):
    """Colour scale of a row."""
    label: str
    grey: float  # value that stays grey
    hottest: float  # value of the hottest colour


class Row(NamedTuple):
    """One kind of picture for every frame."""
    name: str
    draw: Callable[[int], np.ndarray]  # frame index -> RGB, uint8
    bar: Optional[Bar] = None


class Scores(NamedTuple):
    """Class scores of ``T`` frames, to be plotted."""
    times: Sequence[float]
    scores: Sequence[np.ndarray]  # each (classes, )
    names: Sequence[str]  # of the classes
    lines: int  # number of curves: the classes with the highest scores
    unit: str = 'seconds'


def heat_row(name: str, maps: Sequence[Maps], values: np.ndarray,
             bar: Bar) -> Row:
    """Build a row of heat maps over the pictures.

    Args:
        name (str): Name of the row.
        maps (Sequence[Maps]): Maps of ``T`` frames.
        values (np.ndarray): A value per patch, shape ``(T, rows, cols)``.
        bar (Bar): Colour scale.
    """
    heat = (values - bar.grey) / (bar.hottest - bar.grey)

    def draw(t: int) -> np.ndarray:
        return draw_heat((DIM * maps[t].picture).astype(np.uint8), heat[t])

    return Row(name, draw, bar)


def gate_row(maps: Sequence[Maps], layer: Optional[int]) -> Row:
    """Build the row of a layer's forget gate, or of the mean of all layers."""
    shares = np.stack([_select_layer(m.retention, layer) for m in maps])
    high = float(shares.max())
    bar = Bar('share of c kept', high,
              min(float(shares.min()), high - NARROWEST_RANGE))
    return heat_row('forget gate', maps, shares, bar)


def state_norm_row(kind: str, maps: Sequence[Maps],
                   layer: Optional[int]) -> Row:
    """Build the row of state norms; ``kind`` is ``'hidden'`` or ``'cell'``."""
    values = np.stack([_select_layer(getattr(m, kind), layer) for m in maps])
    low, high = float(values.min()), float(values.max())
    bar = Bar(f'|{kind[0]}| of a patch', low, max(high, low + 1e-6))
    return heat_row(f'{kind} state', maps, values, bar)


def cam_row(maps: Sequence[Maps], evidence: np.ndarray, name: str) -> Row:
    """Build the row of a Grad-CAM ``(T, rows, cols)``, scaled to 0 to 1."""
    return heat_row('Grad-CAM', maps, evidence, Bar(f'for "{name}"', 0., 1.))


def mask_row(maps: Sequence[Maps], mask: np.ndarray) -> Row:
    """Build the row of frames with the patches of a tube mask darkened."""

    def draw(t: int) -> np.ndarray:
        picture = maps[t].picture
        dropped = cv2.resize(
            mask.astype(np.uint8), picture.shape[1::-1],
            interpolation=cv2.INTER_NEAREST)[..., None]
        return np.where(dropped, MASKED * picture, picture).astype(np.uint8)

    return Row('tube mask', draw)


def picture_row(maps: Sequence[Maps]) -> Row:
    """Build the row of frames as the model reads them."""
    return Row('frame', lambda t: maps[t].picture)


def edges_row(maps: Sequence[Maps]) -> Row:
    """Build the row of edge maps."""
    return Row('edge map',
               lambda t: cv2.cvtColor(maps[t].edges, cv2.COLOR_GRAY2RGB))


def stack_frames(maps: Sequence[Maps]) -> Tensor:
    """Stack pictures and edge maps to a clip ``(1, 4, T, height, width)``."""
    frames = [np.dstack([m.picture, m.edges]) for m in maps]
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None]


def draw_sheet(rows: Sequence[Row], shown: Sequence[int], scores: Scores,
               title: str) -> 'Figure':
    """Draw a sheet: a column for each shown frame, and the scores below.

    Args:
        rows (Sequence[Row]): Rows, from the top.
        shown (Sequence[int]): Indices of the frames, which are also marked in
            the score plot.
        scores (Scores): Scores of all frames.
        title (str): Title of the figure.
    """
    width, height = _inches(rows[0].draw(shown[0]), LARGEST)
    left, top, bottom, right = 1.1, 0.55, 0.45, _legend_width(scores)
    across = len(shown) * (width + GAP) - GAP
    plot = bottom + SCORES
    figure = new_figure(left + across + right,
                        plot + 0.22 + len(rows) * (height + GAP) + top)
    figure.set_layout_engine('none')
    total_width, total_height = figure.get_size_inches()
    figure.text(left / total_width, 1 - 0.12 / total_height, title,
                fontsize=10, va='top')
    for index, row in enumerate(rows):
        above = total_height - top - (index + 1) * (height + GAP) + GAP
        for column, t in enumerate(shown):
            axes = _add_axes(figure, left + column * (width + GAP), above,
                             width, height)
            _show(axes, row.draw(t))
            if index == 0:
                axes.set_title(_moment(scores, t), fontsize=8, pad=3)
            if column == 0:
                axes.set_ylabel(row.name, fontsize=9, rotation=0, ha='right',
                                va='center', labelpad=6)
        if row.bar is not None:
            _draw_bar(
                _add_axes(figure, left + across + 0.1, above + 0.04, 0.1,
                          height - 0.08), row.bar, 'vertical')
    axes = _add_axes(figure, left, bottom, across, SCORES)
    draw_scores(axes, *scores)
    _set_plot(axes)
    if len(shown) > 1:  # align each frame's mark with its column
        first, last = scores.times[shown[0]], scores.times[shown[-1]]
        half = (last - first) / (len(shown) - 1) * width / (width + GAP) / 2
        axes.set_xlim(first - half, last + half)
    for t in shown:
        axes.axvline(scores.times[t], color='grey', linewidth=0.6,
                     linestyle=':', zorder=0)
    return figure


def film(rows: Sequence[Row], scores: Scores,
         title: str) -> Iterator[np.ndarray]:
    """Draw a film: the rows side by side above the scores up to each frame.

    Args:
        rows (Sequence[Row]): Rows, from the left.
        scores (Scores): Scores of all frames.
        title (str): Title of the figure.

    Yields:
        np.ndarray: RGB, uint8, all of the same size, with even sides.
    """
    width, height = _inches(rows[0].draw(0), LARGEST_IN_FILM)
    left, top, gap, below, right = 0.6, 0.7, 0.15, 0.55, _legend_width(scores)
    across = len(rows) * (width + gap) - gap
    figure = new_figure(left + across + right,
                        0.45 + SCORES + below + height + top)
    figure.set_layout_engine('none')
    total_width, total_height = figure.get_size_inches()
    figure.text(left / total_width, 1 - 0.12 / total_height, title,
                fontsize=11, va='top')
    above, images = total_height - top - height, []
    for index, row in enumerate(rows):
        start = left + index * (width + gap)
        axes = _add_axes(figure, start, above, width, height)
        axes.set_title(row.name, fontsize=9, pad=3)
        images.append(_show(axes, row.draw(0)))
        if row.bar is not None:
            _draw_bar(
                _add_axes(figure, start + 0.1, above - 0.14, width - 0.2,
                          0.09), row.bar, 'horizontal')
    axes = _add_axes(figure, left, 0.45, across, SCORES)
    curves = draw_scores(axes, *scores)
    _set_plot(axes)
    now = axes.axvline(scores.times[0], color='black', linewidth=0.8)
    time_text = axes.text(0.995, 0.97, '', transform=axes.transAxes,
                          ha='right', va='top', fontsize=9)
    # blitting: only the artists that change are redrawn
    moving = [*images, *curves, now, time_text]
    for artist in moving:
        artist.set_animated(True)
    canvas = figure.canvas
    figure.set_dpi(FILM_DPI)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)  # type: ignore[attr-defined]
    times = np.asarray(scores.times)
    curve_values = [np.asarray(curve.get_ydata()) for curve in curves]
    for t in range(len(times)):
        for image, row in zip(images, rows):
            image.set_data(row.draw(t))
        for curve, values in zip(curves, curve_values):
            curve.set_data(times[:t + 1], values[:t + 1])
        now.set_xdata([times[t]] * 2)
        time_text.set_text(_moment(scores, t))
        canvas.restore_region(still)  # type: ignore[attr-defined]
        for artist in moving:
            figure.draw_artist(artist)
        drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[attr-defined]
        even = [side // 2 * 2 for side in drawn.shape[:2]]
        yield drawn[:even[0], :even[1], :3].copy()


def _select_layer(values: Optional[np.ndarray],
                  layer: Optional[int]) -> np.ndarray:
    """Select a layer of ``(num_layers, rows, cols)``, or average them."""
    assert values is not None  # callers refuse an ONNX graph before
    return values.mean(0) if layer is None else values[layer]


def _inches(picture: np.ndarray, largest: float) -> Tuple[float, float]:
    """Return width and height of a picture whose longer side is largest."""
    height, width = picture.shape[:2]
    scale = largest / max(height, width)
    return width * scale, height * scale


def _add_axes(figure: 'Figure', left: float, bottom: float, width: float,
              height: float) -> 'Axes':
    """Add axes at a position given in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes(
        (left / across, bottom / up, width / across, height / up))


def _show(axes: 'Axes', picture: np.ndarray) -> 'AxesImage':
    """Show a picture without interpolation or ticks."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_linewidth(0.4)
    return axes.imshow(picture, interpolation='nearest', aspect='auto')


def _draw_bar(axes: 'Axes', bar: Bar, orientation: str) -> None:
    """Draw a colour bar, with the colours that they have on mid-grey."""
    share = np.linspace(0, 1, 256)
    is_vertical = orientation == 'vertical'
    heat = share[::-1, None] if is_vertical else share[None]
    grey = np.full((*heat.shape, 3), DIM * 128, np.uint8)
    _show(axes, draw_heat(grey, heat)).set_extent((0, 1, 0, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axis = axes.yaxis if is_vertical else axes.xaxis
    values = np.linspace(bar.grey, bar.hottest, 3)
    axis.set_ticks([0, 0.5, 1], [f'{value:.3g}' for value in values])
    axes.tick_params(labelsize=7, length=2, pad=2, width=0.4)
    if is_vertical:
        axes.yaxis.tick_right()
        axes.text(7., 0.5, bar.label, fontsize=7.5, rotation=90, va='center',
                  transform=axes.transAxes)
    else:
        axes.set_xlabel(bar.label, fontsize=7.5, labelpad=1)


def _set_plot(axes: 'Axes') -> None:
    """Style the score plot."""
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    axes.spines[['top', 'right']].set_visible(False)
    legend = axes.get_legend()
    assert legend is not None
    for name in legend.get_texts():
        name.set_fontsize(LEGEND_FONT)


def _legend_width(scores: Scores) -> float:
    """Return the width of the legend and of the bars above it in inches."""
    best = best_classes(scores.scores, scores.lines)
    return LEGEND + max(
        [0.7, *(text_width(scores.names[i], LEGEND_FONT) for i in best)])


def _moment(scores: Scores, t: int) -> str:
    """Format the time of a frame, or its number."""
    if scores.unit == 'seconds':
        return f'{scores.times[t]:.2f} s'
    return f'frame {scores.times[t]:.0f}'


def evenly_spaced(frames: int, columns: int) -> List[int]:
    """Return at most ``columns`` evenly spaced indices, ends included."""
    shown = np.linspace(0, frames - 1, min(columns, frames))
    return shown.round().astype(int).tolist()
