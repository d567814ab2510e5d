# Copyright (c) The mmlcr authors. All rights reserved.
"""Sources of frames: files, addresses and cameras, finite or live."""
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import cv2
import numpy as np
import pytest
from encode import draw, encode
from live_server import LiveServer

from mmlcr.streaming import (
    Frame,
    FrameRateFilter,
    ImageFolder,
    LiveStream,
    Video,
    live,
    open_source,
    sources,
)
from mmlcr.video import SourceError

LEAVE = Path(__file__).with_name('leave.py')


@pytest.fixture
def server(tmp_path: Path, make_frames: Callable) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path, make_frames(6))
    yield server
    server.close()


# ---- which frames are due


def taken(times: List[float], fps: float) -> List[int]:
    frame_filter = FrameRateFilter(fps)
    image = np.zeros((1, 1, 3), np.uint8)
    return [number for number, at in enumerate(times)
            if frame_filter.is_due(Frame(image, number, at, number == 0))]


def test_frames_are_due_by_their_times() -> None:
    """The source has 25 frames per second, then 5; the filter keeps 12.5."""
    times = [t / 25 for t in range(30)] + [1.2 + t / 5 for t in range(11)]
    assert taken(times, 12.5) == [*range(0, 30, 2), *range(30, 41)]


def test_a_slower_source_warns_once() -> None:
    with pytest.warns(UserWarning) as records:
        taken([t / 5 for t in range(40)], 12.5)
    assert [str(w.message) for w in records] == [
        'the source has 5 frames per second, and the model was trained with '
        '12.5: motion appears that much faster to it']


@pytest.mark.parametrize('times', [
    [t / 12.5 for t in range(40)], [t / 25 for t in range(40)],
    [t / 25 for t in range(30)] + [2., 3., 4.], [0., 1., 2.]
], ids=['as fast', 'faster', 'with pauses', 'too short to tell'])
def test_other_sources_do_not_warn(times: List[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        taken(times, 12.5)


# ---- finite and live sources


def test_an_address_with_an_end_is_a_video(server: LiveServer, tmp_path: Path,
                                           make_video: Callable) -> None:
    path = make_video('a clip.mp4', num_frames=9)
    expected = [*open_source(str(path))]
    (tmp_path / 'clip.mp4').write_bytes(path.read_bytes())
    for address in (server.address('clip.mp4'), path.as_uri(),
                    f'FILE://{path}'):
        source = open_source(address)
        assert isinstance(source, Video) and not source.is_live
        found = [*source]
        assert [f[1:] for f in found] == [f[1:] for f in expected]
        assert all(np.array_equal(a.image, b.image)
                   for a, b in zip(found, expected))


def test_a_stream_without_an_end_is_live(server: LiveServer) -> None:
    source = open_source(server.address('endless'))
    assert isinstance(source, LiveStream) and source.is_live
    frames = iter(source)
    found = [next(frames) for _ in range(8)]
    frames.close()
    assert [frame.number for frame in found] == [*range(8)]
    assert found[0].is_first and not found[1].is_first
    # times of arrival, as MJPEG has none; frames of a stall arrive together
    assert 0 < found[-1].seconds - found[0].seconds < 5


@pytest.mark.parametrize('path', ['brief', 'unsized/clip.ts'])
def test_retries_of_a_source_that_always_ends_run_out(
        path: str, server: LiveServer, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of unknown length is not reopened for ever."""
    monkeypatch.setattr(live, 'STEADY', 0.)
    encode(tmp_path / 'clip.ts', 'mpeg2video', frames=draw(6))
    pauses: List[float] = []
    source = open_source(server.address(path), retries=2)
    assert source.is_live
    monkeypatch.setattr(source, '_wait', lambda s: not pauses.append(s))
    with pytest.warns(UserWarning, match=r'after 6 frames \(.*\), to be o'):
        with pytest.raises(SourceError, match='after 18 frames, and 2 attem'):
            for _ in source:
                pass
    assert pauses == [1, 2]


def test_failures_before_steady_frames_are_forgotten(
        server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, 'STEADY', 0.)
    pauses: List[float] = []
    source = open_source(server.address('next'), retries=2)
    monkeypatch.setattr(
        source, '_wait', lambda s: not pauses.append(s) and len(pauses) < 4)
    with pytest.warns(UserWarning, match='broke off after 6 frames'):
        frames = [*source]
    assert pauses == [1, 1, 1, 1]
    assert [f.number for f in frames if f.is_first] == [0, 6, 12, 18]
    assert all(np.diff([f.seconds for f in frames]) > 0)


def test_a_stream_that_stalls_is_opened_again(
        server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, 'TIMEOUT', 0.7)
    source = open_source(server.address('stalled'), retries=0)
    start = time.monotonic()
    with pytest.raises(SourceError, match='after [56] frames.*no answer'):
        for _ in source:
            pass
    assert time.monotonic() - start < 10


def test_a_server_that_does_not_answer_is_named(server: LiveServer) -> None:
    address = server.address('none.mp4')
    server.close()
    with pytest.raises(SourceError, match=f'{address}: .*Connection refused'):
        open_source(address)


class FakeCamera:
    """OpenCV's capture; ``frames`` has a list for each time it is opened."""
    frames: List[List[Any]] = []

    def __init__(self, address: Any) -> None:
        self.left = self.frames.pop(0) if self.frames else None

    def isOpened(self) -> bool:
        return self.left is not None

    def read(self) -> tuple:
        if not self.left:
            return False, None
        return True, self.left.pop(0)

    def release(self) -> None:
        self.left = None


@pytest.mark.parametrize('steady, pauses', [(0., [1, 2, 1, 2]), (60., [1, 2])])
def test_a_camera_that_breaks_off_is_opened_again(
        steady: float, pauses: List[float], make_frames: Callable,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow, and start again from one second after steady frames."""
    frames = make_frames(4)[..., ::-1]
    waited: List[float] = []
    monkeypatch.setattr(live, 'STEADY', steady)
    monkeypatch.setattr(live.cv2, 'VideoCapture', FakeCamera)
    monkeypatch.setattr(FakeCamera, 'frames',
                        [list(frames[:2]), [], list(frames[2:]), []])
    camera = live.Camera(0, retries=2)
    monkeypatch.setattr(camera, '_wait', lambda s: not waited.append(s))
    found: List[Tuple[int, bool]] = []
    with pytest.warns(UserWarning, match='broke off after 2 frames'):
        with pytest.raises(SourceError, match='after 4 frames, and 2 attem'):
            for frame in camera:
                found.append((frame.number, frame.is_first))
    assert found == [(0, True), (1, False), (2, True), (3, False)]
    assert waited == pauses


# ---- ends


@pytest.mark.parametrize('way, code', [
    ('break', 0), ('forgotten', 0), ('error', 1), ('exit', 3),
    ('interrupt', 130),
])
@pytest.mark.parametrize('stream', ['endless', 'stalled'])
def test_a_live_stream_is_left_without_a_crash(stream: str, way: str,
                                               code: int,
                                               server: LiveServer) -> None:
    left = [subprocess.Popen(
        [sys.executable, str(LEAVE), way, server.address(stream)],
        stderr=subprocess.PIPE) for _ in range(3)]
    for process in left:
        output = process.communicate(timeout=60)[1].decode()
        interrupted = way == 'interrupt' and process.returncode == -2
        assert process.returncode == code or interrupted, output
        assert 'terminate called' not in output


def test_no_thread_is_left(server: LiveServer) -> None:
    before = threading.active_count()
    frames = iter(live.LatestFrameReader(
        open_source(server.address('endless')), FrameRateFilter(25.)))
    next(frames)
    names = {thread.name for thread in threading.enumerate()}
    assert any('_read' in name for name in names)
    frames.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not any('_read' in name for name in names)
    assert threading.active_count() <= before + 2  # the server's


# ---- folders


def test_hidden_images_of_a_folder_are_none(tmp_path: Path,
                                            make_frames: Callable) -> None:
    frames = make_frames(3)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f'{number}.png'), frame)
    for name in ('._0.png', '.1.png', 'notes.txt'):
        (tmp_path / name).write_bytes(b'\0\5\x16\7')
    assert len([*ImageFolder(str(tmp_path))]) == 3
