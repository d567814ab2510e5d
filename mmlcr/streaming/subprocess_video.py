# Copyright (c) The mmlcr authors. All rights reserved.
"""A video that is decoded in a process of its own, which may crash.

The process is started anew, not forked: whoever asks may have threads.
"""
import json
import os.path as osp
import signal
import subprocess
import sys
import threading
from typing import Any, Dict, Iterator

import numpy as np

from mmlcr.video import SourceError, reader
from .frames import Frame
from .sources import Source, check_is_file

SERVER = osp.join(osp.dirname(reader.__file__), 'frame_server.py')
PATIENCE = 30.  # seconds that a frame may take


class SubprocessVideo(Source):
    """:class:`mmlcr.streaming.Video`, for files that may crash a decoder.

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
        check_is_file(path)
        self.process = subprocess.Popen(
            [sys.executable, SERVER, path], stdout=subprocess.PIPE)
        told = self._receive()
        self.height, self.width = told['size']
        self.duration = told['duration']
        self.length = round(self.duration * told['rate']) or None

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
