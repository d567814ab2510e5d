# Copyright (c) The mmlcr authors. All rights reserved.
"""Images are shown at their times, and for the right duration."""
from pathlib import Path
from typing import List, Optional

import numpy as np
import pytest
from encode import draw, number_of

from mmlcr.video import VideoReader, VideoWriter


def write(path: Path, times: List[Optional[float]],
          fps: float = 12.5) -> VideoReader:
    writer = VideoWriter(str(path), fps)
    for image, at in zip(draw(), times):
        writer.add(image, at)
    writer.close()
    return VideoReader(str(path))


@pytest.mark.parametrize('start', [0., 7.3])
def test_an_mp4_keeps_the_times(start: float, tmp_path: Path) -> None:
    times = [0, 0.2, 0.4, 0.44, 1.44]
    video = write(tmp_path / 'a.mp4', [start + at for at in times])
    assert video.times == pytest.approx(times, abs=1e-3)
    assert [number_of(frame.image) for frame in video] == [0, 1, 2, 3, 4]
    assert video.duration == pytest.approx(2.44, abs=1e-3)


def test_an_avi_keeps_them_in_its_unit(tmp_path: Path) -> None:
    video = write(tmp_path / 'a.avi', [0, 0.24, 0.4, 0.8])
    frames = [*video]  # the last one again, at the end of its time
    assert [f.seconds for f in frames] == pytest.approx(
        [0, 0.24, 0.4, 0.8, 1.12])
    assert [number_of(f.image) for f in frames] == [0, 1, 2, 3, 3]
    assert video.duration == pytest.approx(1.2)


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
@pytest.mark.parametrize('frames', [1, 5])
def test_without_times_by_the_rate(suffix: str, frames: int,
                                   tmp_path: Path) -> None:
    video = write(tmp_path / f'a{suffix}', [None] * frames)
    assert video.times == pytest.approx(np.arange(frames) / 12.5)
    assert video.duration == pytest.approx(frames / 12.5)


def test_times_that_stand_still_lose_no_picture(tmp_path: Path) -> None:
    video = write(tmp_path / 'a.mp4', [1., 1., 0.5, 1.5])
    assert [number_of(frame.image) for frame in video] == [0, 1, 2, 3]


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_odd_sizes_are_filled_up(suffix: str, tmp_path: Path) -> None:
    writer = VideoWriter(str(tmp_path / f'a{suffix}'), 25)
    writer.add(np.full((47, 63, 3), 200, np.uint8))
    writer.close()
    image, = VideoReader(writer.path).frames_at([0])
    assert image.shape == (48, 64, 3)
    assert (np.abs(image.astype(int) - 200) < 8).all()


def test_what_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'.avi or .mp4, got .*a.webm'):
        VideoWriter(str(tmp_path / 'a.webm'), 25)
    (tmp_path / 'a.mp4').mkdir()
    with pytest.raises(OSError, match='a.mp4'):
        VideoWriter(str(tmp_path / 'a.mp4'), 25).add(draw()[0])


def test_a_video_without_pictures_is_none(tmp_path: Path) -> None:
    VideoWriter(str(tmp_path / 'a.mp4'), 25).close()
    assert not (tmp_path / 'a.mp4').exists()
