# Copyright (c) The mmlcr authors. All rights reserved.
"""A video that is decoded in a process of its own, which may crash.

Run as a script, this file is that process: it writes a line of JSON and the
bytes of each frame. It is started anew, not forked: whoever asks may have
threads.
"""
import json
import signal
import subprocess
import sys
import threading
from typing import Any, Dict, Iterator

import cv2
import numpy as np

if __name__ == '__main__':  # from its own folder, without all of the package
    from sources import Frame, Source, SourceError, Video
else:
    from .sources import Frame, Source, SourceError, Video

PATIENCE = 30.  # seconds that a frame may take


class IsolatedVideo(Source):
    """:class:`mmlcr.apis.Video`, for files that nobody vouches for.

    A decoder that crashes, or takes longer for a frame than ``patience``, is
    an error of the file.

    Args:
        path (str): Video file.
        patience (float): Seconds. Defaults to ``PATIENCE``.

    Raises:
        SourceError: If it does not open.
    """

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        self.name, self.patience, self.closed = path, patience, False
        self.process = subprocess.Popen(
            [sys.executable, __file__, path], stdout=subprocess.PIPE)
        told = self._receive()
        self.height, self.width = told['size']
        self.fps, self.length = told['fps'], told['length']

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self.closed:
                told = self._receive()
                if 'frame' not in told:
                    return
                image, number, seconds = told['frame']
                yield Frame(image, number, seconds, number == 0)
        finally:
            self.close()

    def close(self) -> None:
        """End the process."""
        self.closed = True
        self._end()

    def _end(self) -> int:
        """Its exit code."""
        self.process.kill()
        ended = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return ended

    def _receive(self) -> Dict[str, Any]:
        """What the process says next.

        Raises:
            SourceError: If that is an error, or it says nothing any more.
        """
        pipe = self.process.stdout
        assert pipe is not None
        late = _Late(self.patience, self.process)
        late.start()
        try:
            line = pipe.readline()
            told = json.loads(line) if line.endswith(b'\n') else None
            if told and 'shape' in told:
                image = np.frombuffer(
                    bytearray(pipe.read(int(np.prod(told['shape'])))),
                    np.uint8)
                told['frame'] = (image.reshape(told['shape']), told['number'],
                                 told['seconds'])
        except ValueError:  # the half of a frame
            told = None
        finally:
            late.cancel()
        if told and 'error' not in told:
            return told
        ended = self._end()
        if told:
            raise SourceError(told['error'])
        if self.closed:
            return {}
        if late.came:
            raise SourceError(f'{self.name}: a frame took more than '
                              f'{self.patience:g} seconds')
        said = signal.Signals(-ended).name if ended < 0 else f'code {ended}'
        raise SourceError(f'{self.name}: the decoder crashed, {said}')


class _Late(threading.Timer):
    """Ends a process after some seconds, unless it is cancelled before."""

    def __init__(self, seconds: float, process: subprocess.Popen) -> None:
        super().__init__(seconds, self._come, [process])
        self.daemon, self.came = True, False

    def _come(self, process: subprocess.Popen) -> None:
        self.came = True
        process.kill()


def send(path: str) -> None:
    """Write all of a video to standard output."""
    out = sys.stdout.buffer

    def say(**told: Any) -> None:
        out.write(json.dumps(told).encode() + b'\n')

    try:
        video = Video(path, None)
        size = [int(video.capture.get(which)) for which in (
            cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)]
        say(size=size, fps=video.fps, length=video.length)
        out.flush()
        for image, number, seconds, *_ in video:
            say(shape=image.shape, number=number, seconds=seconds)
            out.write(image.tobytes())
            out.flush()
        say(end=True)
    except SourceError as error:
        say(error=str(error))
    out.flush()


if __name__ == '__main__':
    send(sys.argv[1])
