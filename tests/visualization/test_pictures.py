# Copyright (c) The mmlcr authors. All rights reserved.
"""Sheets and films of a clip show the values of its maps."""
from typing import Any, Callable, List

import numpy as np
import pytest
from matplotlib.text import Text

from mmlcr.visualization import Maps
from mmlcr.visualization.pictures import (
    MASKED,
    Bar,
    Scores,
    cam_row,
    draw_sheet,
    edges_row,
    evenly_spaced,
    film,
    gate_row,
    heat_row,
    mask_row,
    picture_row,
    stack_frames,
    state_norm_row,
)

FRAMES, LAYERS, ROWS, COLS, PATCH = 5, 2, 3, 4, 8
GREY = 1  # of 255: how far the channels of a grey pixel may differ


@pytest.fixture
def maps() -> List[Maps]:
    def draw() -> Maps:
        retention, hidden, cell = np.random.rand(3, LAYERS, ROWS, COLS)
        picture = np.random.randint(
            50, 256, (ROWS * PATCH, COLS * PATCH, 3), np.uint8)
        edges = np.random.choice([0, 255], picture.shape[:2]).astype(np.uint8)
        return Maps(picture, edges, retention, hidden, cell)

    return [draw() for _ in range(FRAMES)]


@pytest.fixture
def scores() -> Scores:
    values = np.random.dirichlet([1] * 6, FRAMES)
    return Scores(np.arange(FRAMES) / 10, list(values),
                  [f'class {n}' for n in range(6)], 3)


def patches(picture: np.ndarray) -> np.ndarray:
    """Split a picture into patches, ``(rows, cols, pixels, 3)``."""
    parts = picture.reshape(ROWS, PATCH, COLS, PATCH, 3).swapaxes(1, 2)
    return parts.reshape(ROWS, COLS, PATCH**2, 3).astype(int)


def colourful(picture: np.ndarray) -> np.ndarray:
    """Return how far the mean colour of each patch is from grey."""
    return np.ptp(patches(picture).mean(2), axis=-1)


@pytest.mark.parametrize('layer', [None, 1])
@pytest.mark.parametrize('name', ['retention', 'hidden', 'cell'])
def test_colour_scales_cover_all_frames(name: str, layer: Any,
                                        maps: List[Maps]) -> None:
    values = np.stack([getattr(m, name) for m in maps])
    values = values.mean(1) if layer is None else values[:, layer]
    if name == 'retention':
        row = gate_row(maps, layer)
        assert row.bar[1:] == (values.max(), values.min())
        grey = values.argmax()
    else:
        row = state_norm_row(name, maps, layer)
        assert row.bar[1:] == (values.min(), values.max())
        grey = values.argmin()
    t, *patch = np.unravel_index(grey, values.shape)
    drawn = patches(row.draw(t))[tuple(patch)]
    assert np.ptp(drawn, axis=-1).max() <= GREY
    t, *patch = np.unravel_index(
        (values.argmin() if name == 'retention' else values.argmax()),
        values.shape)
    assert colourful(row.draw(t))[tuple(patch)] > 30


def test_constant_values_have_a_colour_scale() -> None:
    even = np.full((LAYERS, ROWS, COLS), 0.9)
    same = [Maps(np.zeros((24, 32, 3), np.uint8), np.zeros(
        (24, 32), np.uint8), even, even, even)] * 2
    for row in (gate_row(same, None), state_norm_row('cell', same, 0),
                cam_row(same, np.zeros((2, ROWS, COLS)), 'a')):
        assert row.bar.grey != row.bar.hottest
        assert np.ptp(row.draw(0).astype(int), axis=-1).max() <= GREY


def test_rows_draw_the_frame_of_their_index(maps: List[Maps]) -> None:
    for t in range(FRAMES):
        assert (picture_row(maps).draw(t) == maps[t].picture).all()
        assert (edges_row(maps).draw(t) == maps[t].edges[..., None]).all()
    values = np.zeros((FRAMES, ROWS, COLS))
    values[2, 1, 3] = 1.
    row = heat_row('a', maps, values, Bar('b', 0., 1.))
    hot = [colourful(row.draw(t)) > 30 for t in range(FRAMES)]
    assert np.argwhere(hot).tolist() == [[2, 1, 3]]


def test_masked_patches_are_dark_in_every_frame(maps: List[Maps]) -> None:
    mask = np.random.rand(ROWS, COLS) < 0.5
    for t in range(FRAMES):
        before = patches(maps[t].picture)
        after = patches(mask_row(maps, mask).draw(t))
        assert (after[~mask] == before[~mask]).all()
        np.testing.assert_allclose(after[mask], MASKED * before[mask], atol=1)


def test_the_clip_is_what_the_model_read(maps: List[Maps]) -> None:
    clip = stack_frames(maps)
    assert clip.shape == (1, 4, FRAMES, ROWS * PATCH, COLS * PATCH)
    for t in range(FRAMES):
        frame = clip[0, :, t].permute(1, 2, 0).numpy()
        assert (frame[..., :3] == maps[t].picture).all()
        assert (frame[..., 3] == maps[t].edges).all()


@pytest.mark.parametrize('frames, columns, expected', [
    (5, 3, [0, 2, 4]), (2, 8, [0, 1]), (1, 8, [0]), (9, 1, [0])
])
def test_columns_are_spread(frames: int, columns: int,
                            expected: List[int]) -> None:
    assert evenly_spaced(frames, columns) == expected


@pytest.mark.parametrize('shown', [[0], [0, 2, 4]], ids=str)
def test_a_sheet_has_rows_columns_bars_and_scores(shown: List[int],
                                                  maps: List[Maps],
                                                  scores: Scores,
                                                  fits: Callable) -> None:
    rows = [picture_row(maps), gate_row(maps, None)]
    figure = draw_sheet(rows, shown, scores, 'title')
    *pictures, plot = figure.axes
    drawn = [axes.images[0].get_array() for axes in pictures]
    expected = [row.draw(t) for row in rows for t in shown]
    assert len(drawn) == len(expected) + 1  # and the bar of the gate
    for found, picture in zip(drawn, expected):
        assert (found == picture).all()
    bar = pictures[-1]
    ticks = [float(label.get_text()) for label in bar.get_yticklabels()]
    _, grey, hottest = rows[1].bar
    assert [ticks[0], ticks[-1]] == pytest.approx([grey, hottest], rel=1e-2)
    top = bar.images[0].get_array()[0, 0].astype(int)
    assert np.ptp(top) > 30  # the hottest is above
    best = np.argsort(-np.max(scores.scores, 0))[:3]
    assert [line.get_label() for line in plot.lines[:3]] == [
        f'class {n}' for n in best]
    for line, index in zip(plot.lines, best):
        assert (line.get_ydata() == np.array(scores.scores)[:, index]).all()
        assert (line.get_xdata() == scores.times).all()
    marked = [line.get_xdata()[0] for line in plot.lines[3:]]
    assert marked == [scores.times[t] for t in shown]
    assert fits(figure)


def test_marks_are_below_their_columns(maps: List[Maps],
                                       scores: Scores) -> None:
    figure = draw_sheet([picture_row(maps)], range(FRAMES), scores, 'title')
    *pictures, plot = figure.axes
    for t, axes in enumerate(pictures):
        centre = axes.get_position().x0 + axes.get_position().width / 2
        pixel = plot.transData.transform((scores.times[t], 0))[0]
        assert pixel / figure.bbox.width == pytest.approx(centre, abs=1e-6)


def test_a_film_shows_each_frame_and_its_scores_grow(maps: List[Maps],
                                                     scores: Scores) -> None:
    """The curves get longer with each frame, and the pictures change."""
    flat = scores._replace(scores=[np.full(6, 0.5)] * FRAMES, lines=1)
    frames = [*film([picture_row(maps), gate_row(maps, 0)], flat, 'title')]
    assert len(frames) == FRAMES
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    blue = [(np.abs(frame.astype(int) - (31, 119, 180)).max(-1) < 9)
            for frame in frames]
    ends = [np.nonzero(drawn.any(0))[0].max() if t else 0
            for t, drawn in enumerate(blue)]
    legend = ends[-1]
    lengths = [int(drawn[:, :legend - 60].any(0).sum()) for drawn in blue]
    assert lengths == sorted(lengths) and lengths[-1] > 3 * lengths[1] > 0
    assert all((one != other).mean() > 0.05
               for one, other in zip(frames, frames[1:]))


def test_frames_without_times_are_numbered(maps: List[Maps],
                                           scores: Scores) -> None:
    numbered = scores._replace(times=[0., 3., 6., 9., 12.], unit='frame')
    figure = draw_sheet([picture_row(maps)], [0, 4], numbered, 'title')
    assert [axes.get_title() for axes in figure.axes[:2]] == ['frame 0',
                                                              'frame 12']
    assert figure.axes[-1].get_xlabel() == 'frame'


@pytest.mark.parametrize('name', ['W' * 24, 'ж' * 30, '走路跑步跳跃' * 2],
                         ids=['wide', 'Cyrillic', 'Chinese'])
@pytest.mark.filterwarnings('ignore:no installed font')
@pytest.mark.filterwarnings('ignore:Glyph')
def test_a_legend_has_room_for_its_letters(maps: List[Maps], scores: Scores,
                                           name: str, fits: Callable) -> None:
    scores = scores._replace(names=[name + str(n) for n in range(6)])
    assert fits(draw_sheet([picture_row(maps)], [0, 4], scores, 'clip'))


def test_colours_are_named_without_formulas(maps: List[Maps],
                                            scores: Scores) -> None:
    rows = [gate_row(maps, None), state_norm_row('hidden', maps, None)]
    figure = draw_sheet(rows, [0], scores, 'clip')
    figure.canvas.draw()
    shown = [text.get_text() for text in figure.findobj(Text)]
    assert '|h| of a patch' in shown and '$' not in ''.join(shown)
