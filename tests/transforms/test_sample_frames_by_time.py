# Copyright (c) The mmlcr authors. All rights reserved.
"""Sampling by time: clips have the frames that a stream selects."""
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from mmaction.registry import TRANSFORMS
from mmlcr.streaming.frames import Frame, FrameRateFilter
from mmlcr.transforms import SampleFramesByTime

SHARED_CASES = Path(__file__).resolve().parents[3] / 'shared/cases'
# 1.2 seconds at 25 frames a second, then two seconds at five
VARIABLE = np.concatenate([np.arange(31) / 25, 1.2 + np.arange(1, 11) / 5])


def sample(total: int = 0, start_index: int = 0, fps: Any = None,
           times: Any = None, **options: Any) -> dict:
    """Sample a clip that has times, a rate or neither."""
    options = dict(dict(clip_len=4, frame_seconds=0.12), **options)
    results = dict(
        total_frames=total or len(times), start_index=start_index)
    if fps is not None:
        results['avg_fps'] = fps
    if times is not None:
        results['frame_times'] = times
    return TRANSFORMS.build(dict(type='SampleFramesByTime', **options))(
        results)


def taken_by_a_stream(times: np.ndarray, fps: float) -> List[int]:
    frame_filter = FrameRateFilter(fps)
    return [number for number, seconds in enumerate(times)
            if frame_filter.is_due(
                Frame(np.empty(0), number, seconds, not number))]


@pytest.mark.parametrize('num_clips', [1, 3, 10])
@pytest.mark.parametrize('total', [5, 9, 10, 11, 37, 100])
@pytest.mark.parametrize('fps, interval', [(25, 3), (30, 4), (12, 1),
                                           (29.97, 2)])
def test_at_one_rate_test_clips_are_those_of_sample_frames(
        fps: float, interval: int, total: int, num_clips: int) -> None:
    """Also for clips that are too short, which loop."""
    expected = TRANSFORMS.build(
        dict(type='SampleFrames', clip_len=4, frame_interval=interval,
             num_clips=num_clips, test_mode=True))(
                 dict(total_frames=total, start_index=1))
    found = sample(total, 1, fps, frame_seconds=interval / fps,
                   num_clips=num_clips, test_mode=True)
    assert found['frame_inds'].dtype == np.int32
    assert found['frame_inds'].tolist() == expected['frame_inds'].tolist()
    for key in 'clip_len', 'num_clips':
        assert found[key] == expected[key]


@pytest.mark.parametrize('fps', [10, 12.5, 15, 24, 25, 29.97, 30, 50, 60])
def test_clips_of_any_rate_have_one_speed(fps: float) -> None:
    found = sample(300, fps=fps, clip_len=10, test_mode=True)['frame_inds']
    seconds = (found - found[0]) / fps
    assert np.abs(seconds - 0.12 * np.arange(10)).max() < 0.5 / fps + 1e-9


@pytest.mark.parametrize('rate', [5, 25 / 3, 10, 12.5, 25])
@pytest.mark.parametrize('times', [
    VARIABLE, np.arange(100) / 25, np.arange(100) / 29.97,
    np.arange(40) / 5, np.cumsum(np.random.default_rng(0).uniform(.01, .2, 90))
], ids=['variable', 'pal', 'ntsc', 'slow', 'random'])
def test_a_clip_is_what_a_stream_takes(times: np.ndarray,
                                       rate: float) -> None:
    """From any start to the end of the clip."""
    times = times - times[0]
    for clip_len in 8, len(taken_by_a_stream(times, rate)):
        found = sample(times=times, clip_len=clip_len, num_clips=3,
                       frame_seconds=1 / rate, test_mode=True)
        for clip in found['frame_inds'].reshape(3, clip_len):
            later = times[clip[0]:] - times[clip[0]]
            taken = clip[0] + np.array(taken_by_a_stream(later, rate))
            assert clip.tolist() == taken.tolist()[:clip_len]
        assert found['num_due'] == clip_len


def test_a_real_variable_rate() -> None:
    """Every second frame of the first part, every frame of the second."""
    path = SHARED_CASES / 'vfr.mp4'
    if not path.exists():
        pytest.skip(f'there is no {path}')
    av = pytest.importorskip('av')
    with av.open(str(path)) as container:
        times = np.array([frame.time for frame in container.decode(video=0)])
    found = sample(times=times - times[0], clip_len=26, frame_seconds=0.08,
                   test_mode=True)
    assert found['frame_inds'].tolist() == [*range(0, 31, 2), *range(31, 41)]


def test_a_variable_rate_from_the_file_on() -> None:
    path = SHARED_CASES / 'vfr.mp4'
    if TRANSFORMS.get('VideoInit') is None or not path.exists():
        pytest.skip(f'no decoder that gives times, or no {path}')
    clip = TRANSFORMS.build(dict(type='VideoInit'))(
        dict(filename=str(path), start_index=0))
    found = SampleFramesByTime(26, 0.08, test_mode=True)(clip)
    assert found['frame_inds'].tolist() == [*range(0, 31, 2), *range(31, 41)]


def test_times_of_the_decoder_come_first() -> None:
    found = sample(fps=1000, times=np.arange(50) / 25, test_mode=True)
    assert np.diff(found['frame_inds']).tolist() == [3, 3, 3]
    found = sample(50, fps=25, test_mode=True)
    assert np.diff(found['frame_inds']).tolist() == [3, 3, 3]


def test_training_clips_begin_anywhere() -> None:
    found = np.stack([sample(20, fps=25)['frame_inds'] for _ in range(300)])
    assert (np.diff(found) == 3).all()
    assert {*found[:, 0]} == {*range(11)}  # of 20 frames, 10 are spanned
    several = sample(200, fps=25, num_clips=4)['frame_inds'].reshape(4, 4)
    assert (np.diff(several[:, 0]) > 0).all()


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
@pytest.mark.parametrize('how, expected', [
    ('loop', [0, 3, 6, 1, 4, 7, 2, 5]),
    ('repeat_last', [0, 3, 6, 6, 6, 6, 6, 6])])
def test_short_clips_repeat_frames(how: str, expected: List[int],
                                   test_mode: bool) -> None:
    found = sample(8, fps=25, clip_len=8, out_of_bound_opt=how,
                   test_mode=test_mode)
    assert found['frame_inds'].tolist() == expected
    assert found['num_due'] == 3


@pytest.mark.parametrize('times', [[0.], [0., 0., 0.]], ids=['one', 'same'])
def test_clips_without_a_duration(times: list) -> None:
    found = sample(times=np.array(times), clip_len=3)
    assert found['frame_inds'].tolist() == [0, 0, 0]


def test_raw_frames_have_a_rate_of_their_own() -> None:
    sampler = SampleFramesByTime(3, 0.25, fps=12., test_mode=True)
    found = sampler(dict(total_frames=7, start_index=1))
    assert found['frame_inds'].tolist() == [1, 4, 7]
    with pytest.raises(ValueError, match='set fps of SampleFramesByTime'):
        sample(60)


@pytest.mark.parametrize('options, message', [
    (dict(frame_seconds=0), 'frame_seconds must be positive, got 0'),
    (dict(clip_len=0), 'clip_len must be positive, got 0'),
    (dict(num_clips=-1), 'num_clips must be positive, got -1'),
    (dict(out_of_bound_opt='stop'), "'loop' or 'repeat_last', got 'stop'"),
])
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleFramesByTime(**dict(dict(clip_len=4, frame_seconds=.1),
                                  **options))


def test_bad_times() -> None:
    with pytest.raises(ValueError, match='5 times of 9 frames'):
        sample(9, times=np.arange(5.))


def test_repr_holds_every_argument() -> None:
    text = repr(SampleFramesByTime(8, 0.12, fps=12.))
    assert text == (
        'SampleFramesByTime(clip_len=8, frame_seconds=0.12, num_clips=1, '
        "out_of_bound_opt='loop', test_mode=False, fps=12.0)")
