# Copyright (c) The mmlcr authors. All rights reserved.
"""Decoding in a subprocess: same frames, and crashes become errors."""
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from mmlcr.streaming import SubprocessVideo, Video, subprocess_video
from mmlcr.video import SourceError

SERVER = subprocess_video.SERVER


def test_frames_are_those_of_a_video(make_video: Callable) -> None:
    path = str(make_video(num_frames=7))
    video = SubprocessVideo(path)
    assert (video.height, video.width) == (48, 64)
    assert (video.duration, video.length) == (pytest.approx(7 / 25), 7)
    for found, expected in zip(video, Video(path)):
        assert np.array_equal(found.image, expected.image)
        assert found[1:] == expected[1:]
        assert found.image.flags.writeable
    assert video.process.poll() is not None


@pytest.mark.parametrize('data, message', [
    (b'', 'an empty file'), (b'not a video', 'not a video that can be opened'),
], ids=['empty', 'text'])
def test_errors_are_those_of_a_video(data: bytes, message: str,
                                     tmp_path: Path) -> None:
    path = tmp_path / 'bad.mp4'
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f'bad.mp4: {message}'):
        SubprocessVideo(str(path))


def break_server(code: str, monkeypatch: pytest.MonkeyPatch,
                 tmp_path: Path) -> None:
    """Run ``code`` in the server before each frame but the first."""
    script = tmp_path / 'sender.py'
    script.write_text(
        'import os, runpy, signal, sys, time\n'
        f'server = runpy.run_path({SERVER!r})\n'
        'VideoReader = server["load_video_package"]().VideoReader\n'
        'read = VideoReader.__iter__\n'
        'def broken(self):\n'
        '    for number, frame in enumerate(read(self)):\n'
        '        if number:\n'
        f'            {code}\n'
        '        yield frame\n'
        'VideoReader.__iter__ = broken\n'
        'server["serve"](sys.argv[1])\n')
    monkeypatch.setattr(subprocess_video, 'SERVER', str(script))


@pytest.mark.parametrize('code, message', [
    ('os.kill(os.getpid(), signal.SIGSEGV)', 'the decoder crashed, SIGSEGV'),
    ('os._exit(3)', 'the decoder crashed, code 3'),
    ('sys.stdout.buffer.write(b\'{"shape": [9, 9, 3], "number": 1, '
     '"seconds": 0}\\n123\'); sys.stdout.flush(); os._exit(4)',
     'the decoder crashed, code 4'),
    ('time.sleep(60)', 'a frame took more than 5 seconds'),
], ids=['signal', 'exit', 'half', 'hang'])
def test_a_decoder_that_crashes(code: str, message: str, make_video: Callable,
                                monkeypatch: pytest.MonkeyPatch,
                                tmp_path: Path) -> None:
    break_server(code, monkeypatch, tmp_path)
    start = time.monotonic()
    frames: Any = iter(SubprocessVideo(str(make_video('a.mp4')), timeout=5))
    next(frames)
    with pytest.raises(SourceError, match=f'a.mp4: {message}'):
        next(frames)
    assert time.monotonic() - start < 50
