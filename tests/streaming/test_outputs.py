# Copyright (c) The mmlcr authors. All rights reserved.
"""Outputs of a stream, and what is left of them after an error."""
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import cv2
import numpy as np
import pytest
import torch

from mmlcr.streaming import (
    AnnotatedVideo,
    JSONLines,
    ScorePlot,
    StateFile,
    StreamResult,
    annotate,
    closing_all,
    outputs,
)
from mmlcr.video import writer
from mmlcr.visualization import Maps, RetentionRange, draw_maps, draw_retention


def draw_result(number: int, image: Any = None) -> StreamResult:
    scores = np.random.rand(4)
    return StreamResult(number, number / 10, ('left', 'right'), (0.7, 0.2),
                        number > 2, scores / scores.sum(), image=image)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    """A partial line is removed."""
    path = tmp_path / 'lines.jsonl'
    lines = JSONLines(str(path))
    for number in range(3):
        lines.write(draw_result(number))

    def full() -> None:
        os.write(lines.file.fileno(), b'{"frame": 3, "sec')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(lines, 'file', SimpleNamespace(
        write=lambda text: len(text), flush=full, tell=lines.file.tell,
        fileno=lines.file.fileno, seekable=lambda: True,
        close=lines.file.close))
    with pytest.raises(OSError, match='No space left.*lines.jsonl'):
        lines.write(draw_result(3))
    lines.close()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line['frame'] for line in found] == [0, 1, 2]
    assert found[1]['labels'] == ['left', 'right']


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_a_nearly_full_disk_leaves_a_video(suffix: str, tmp_path: Path,
                                           make_frames: Callable,
                                           monkeypatch: pytest.MonkeyPatch
                                           ) -> None:
    path = tmp_path / f'video{suffix}'
    video, frames = AnnotatedVideo(str(path), 10.), make_frames(6)
    for number in range(5):
        video.write(draw_result(number, frames[number]))
    usage = shutil.disk_usage(tmp_path)._replace(
        free=writer.MIN_FREE_BYTES - 1)
    monkeypatch.setattr(writer.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(OSError, match=f'No space left.*video{suffix}'):
        video.write(draw_result(5, frames[5]))
    video.close()
    capture = cv2.VideoCapture(str(path))
    read = [capture.read()[0] for _ in range(6)]
    assert read == [True] * 5 + [False]


def test_all_outputs_are_closed_if_one_fails() -> None:
    closed = []

    class Output:

        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            if self.name == 'b':
                raise OSError('b')

    with pytest.raises(OSError, match='b'):
        with closing_all([Output(name) for name in 'abc']):
            raise ValueError('a stream that ends early')
    assert sorted(closed) == ['a', 'b', 'c']


def test_a_plot_of_any_length(tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second point is dropped whenever there are too many."""
    monkeypatch.setattr(outputs, 'MAX_POINTS', 50)
    plot = ScorePlot(str(tmp_path / 'plot.png'), ['a', 'b', 'c', 'd'], 2)
    for number in range(1000):
        plot.write(draw_result(number))
    assert len(plot.points) <= 50
    times = np.array([time for time, _ in plot.points])
    np.testing.assert_allclose(np.diff(times), plot.every / 10)
    plot.close()
    picture = cv2.imread(str(tmp_path / 'plot.png'))
    assert picture.std() > 10


def test_a_full_disk_leaves_the_state_before(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    """No partial file is left behind."""
    path = tmp_path / 'state.pth'
    state = StateFile(str(path), SimpleNamespace(state_dict=lambda: {'a': 1}))
    state.write(draw_result(0))
    state.close()
    assert torch.load(path, weights_only=True) == {'a': 1}

    def full(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
            OSError, match='No space left .* unchanged: .*state.pth'):
        state.close()
    assert [file.name for file in tmp_path.iterdir()] == ['state.pth']
    assert torch.load(path, weights_only=True) == {'a': 1}


def test_a_plot_without_results_is_not_saved(tmp_path: Path) -> None:
    ScorePlot(str(tmp_path / 'plot.png'), ['a']).close()
    assert not (tmp_path / 'plot.png').exists()


@pytest.mark.parametrize('size', [(20, 30), (144, 180), (720, 1280)], ids=str)
def test_annotations_do_not_touch_the_frame(size: tuple) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    before = image.copy()
    drawn = annotate(image, draw_result(5))
    assert (image == before).all()
    height, width = size
    assert (drawn[:height // 3, :width // 2] != before[:height // 3,
                                                       :width // 2]).any()
    assert (drawn[height // 2:] == before[height // 2:]).all() or height < 30


# ---- maps


def test_patches_with_low_retention_are_bright() -> None:
    """The highest retention stays grey; the lower, the brighter."""
    picture = np.full((40, 60, 3), (90, 100, 110), np.uint8)
    retention = np.full((4, 6), 0.9, np.float32)
    retention[1, 2], retention[3, 5] = 0.5, 0.7
    drawn = draw_retention(picture, retention, 0.5, 0.9).astype(int)
    patches = drawn.reshape(4, 10, 6, 10, 3)
    assert (patches == patches[:, :1, :, :1]).all()  # one colour a patch
    red = patches[:, 0, :, 0, 0]
    assert red[1, 2] > red[3, 5] > red[0, 0]
    grey = patches[:, 0, :, 0][retention == np.float32(0.9)]
    assert (np.ptp(grey, axis=-1) == 0).all()


def test_colours_stay_the_same_over_a_stream() -> None:
    """The range covers all frames so far, and has a minimum width."""
    update = RetentionRange().update
    low, high = update(np.full((2, 2), 0.88))
    assert (low, high) == pytest.approx((0.83, 0.88))
    assert update(np.array([[0.5, 0.7]])) == pytest.approx((0.5, 0.88))
    assert update(np.array([[0.6, 0.7]])) == pytest.approx((0.5, 0.88))


@pytest.mark.parametrize('retention', [None, np.full((2, 4, 6), 0.9)],
                         ids=['unknown', 'known'])
def test_a_video_has_maps_beside_its_frames(retention: Any,
                                            tmp_path: Path) -> None:
    image = np.full((48, 64, 3), 100, np.uint8)
    maps = Maps(np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48), np.uint8),
                retention)
    maps_beside = 1 if retention is None else 2
    assert len(draw_maps(maps, RetentionRange())) == 1 + maps_beside
    path = str(tmp_path / 'video.avi')
    video = AnnotatedVideo(path, 10)
    for number in range(3):
        video.write(draw_result(number, image)._replace(maps=maps))
    video.close()
    capture = cv2.VideoCapture(path)
    assert capture.get(cv2.CAP_PROP_FRAME_HEIGHT) == 48
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 64 + maps_beside * 72
