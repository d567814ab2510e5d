# Copyright (c) The mmlcr authors. All rights reserved.
"""Decoded videos in memory: the same frames, by whichever process."""
import multiprocessing
import pickle
from pathlib import Path
from typing import Any, Callable, List, Tuple

import numpy as np
import pytest

from mmlcr.video import CachedVideo, FrameCache, SourceError, VideoReader
from mmlcr.video.frame_cache import ABSENT, CLAIMED, PRESENT, REFUSED

FRAMES, HEIGHT, WIDTH = 12, 48, 64
NUMBERS = [3, 0, 11, 3]


@pytest.fixture
def paths(make_video: Callable) -> List[str]:
    return [str(make_video(f'{name}.mp4', num_frames=FRAMES, step=step,
                           height=HEIGHT, width=WIDTH))
            for name, step in (('a', 2), ('b', 5))]


def opened(cache: FrameCache, paths: List[str], index: int) -> Any:
    return cache.open(index, paths[index], lambda: VideoReader(paths[index]))


def states(cache: FrameCache) -> List[int]:
    return cache.store.entries['state'].tolist()


def assert_same(found: Any, path: str) -> None:
    expected = VideoReader(path)
    assert len(found) == len(expected) and found.fps == expected.fps
    assert np.array_equal(found.times, expected.times)
    for image, other in zip(found.frames_at(NUMBERS),
                            expected.frames_at(NUMBERS)):
        assert np.array_equal(image, other)


def test_frames_and_times_are_those_of_the_file(paths: List[str]) -> None:
    cache = FrameCache(2, 2**20)
    for _ in range(2):
        for index, path in enumerate(paths):
            with opened(cache, paths, index) as video:
                assert isinstance(video, CachedVideo)
                assert_same(video, path)
    assert cache.present == 2


def test_real_clips(shared_data: Path) -> None:
    """Other codecs, rates and sizes."""
    paths = [str(path) for path in sorted((shared_data / 'clips').iterdir())
             if path.suffix in ('.avi', '.mp4')]
    cache = FrameCache(len(paths), 2**30)
    for index, path in enumerate(paths):
        with opened(cache, paths, index), opened(cache, paths, index) as video:
            assert isinstance(video, CachedVideo)
            assert_same(video, path)


def test_a_video_is_decoded_once(paths: List[str]) -> None:
    cache = FrameCache(2, 2**20)
    opened(cache, paths, 1)
    Path(paths[1]).unlink()
    assert len(opened(cache, paths, 1).frames_at(NUMBERS)) == len(NUMBERS)


def test_frames_are_copies(paths: List[str]) -> None:
    cache = FrameCache(2, 2**20)
    for image in opened(cache, paths, 0).frames_at(NUMBERS):
        image[:] = 0
    assert_same(opened(cache, paths, 0), paths[0])
    with pytest.raises(IndexError, match='0 to 11, got -1'):
        opened(cache, paths, 0).frames_at([-1])
    with pytest.raises(IndexError, match='0 to 11, got 12'):
        opened(cache, paths, 0).frames_at([12])


def test_what_does_not_fit_is_decoded_each_time(paths: List[str]) -> None:
    size = FRAMES * HEIGHT * WIDTH * 3
    cache = FrameCache(2, int(1.5 * size))
    assert isinstance(opened(cache, paths, 0), CachedVideo)
    for _ in range(2):
        video = opened(cache, paths, 1)
        assert isinstance(video, VideoReader)
        assert_same(video, paths[1])
    assert states(cache) == [PRESENT, REFUSED]


def test_a_video_that_fails_may_be_tried_again(
        paths: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is not allocated twice."""
    cache = FrameCache(2, 2**20)
    with monkeypatch.context() as patch:
        def fail(self: Any, numbers: Any) -> None:
            raise SourceError('broken') if len(numbers) > 1 else StopIteration

        patch.setattr(VideoReader, 'size', (WIDTH, HEIGHT))
        patch.setattr(VideoReader, 'frames_at', fail)
        for _ in range(3):
            with pytest.raises(SourceError, match='broken'):
                opened(cache, paths, 0)
    used = int(cache.store.used[0])
    assert states(cache)[0] == ABSENT and used > 0
    assert_same(opened(cache, paths, 0), paths[0])
    assert int(cache.store.used[0]) == used
    with pytest.raises(SourceError, match='nowhere'):
        cache.open(1, 'nowhere', lambda: VideoReader('nowhere.mp4'))
    assert states(cache) == [PRESENT, ABSENT]


def test_a_process_does_not_wait_for_another_one(paths: List[str]) -> None:
    """While a video is being decoded, or if that process has died."""
    cache = FrameCache(2, 2**20)
    assert cache.store.claim(cache.store.entries[0])
    assert isinstance(opened(cache, paths, 0), VideoReader)
    assert states(cache) == [CLAIMED, ABSENT]


def _open_both(cache: FrameCache, paths: List[str]) -> None:
    for index in range(2):
        opened(cache, paths, index)


def test_forked_processes_share_it(paths: List[str]) -> None:
    cache = FrameCache(2, 2**20)
    processes = [
        multiprocessing.get_context('fork').Process(
            target=_open_both, args=(cache, paths)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert states(cache) == [PRESENT, PRESENT]
    for index, path in enumerate(paths):
        assert_same(opened(cache, paths, index), path)


def test_a_copy_is_empty_and_workers_divide_the_limit(
        paths: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FrameCache(2, 2**20)
    opened(cache, paths, 0)
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.present == 0 and len(copy.store.pixels) == 2**20
    copy = pickle.loads(pickle.dumps(cache))

    class Info:
        num_workers = 4

    monkeypatch.setattr('mmlcr.video.frame_cache.get_worker_info', Info)
    assert len(copy.store.pixels) == 2**18
    assert isinstance(opened(copy, paths, 0), CachedVideo)


@pytest.mark.parametrize('numbers', [(0, 1), (1, 0)])
def test_nothing_can_not_be_cached(numbers: Tuple[int, int]) -> None:
    with pytest.raises(ValueError, match='must be positive'):
        FrameCache(*numbers)
