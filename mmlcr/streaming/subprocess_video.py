# Copyright (c) The mmlcr authors. All rights reserved.
"""Decode a video in a separate process, so that a crash is an exception.

The process is spawned, not forked, as the caller may have threads.
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
FRAME_TIMEOUT = 30.  # seconds per frame


class SubprocessVideo(Source):
    """A :class:`mmlcr.streaming.Video` for files that may crash a decoder.

    A :class:`SourceError` is raised if the decoder crashes, or takes longer
    for a frame than ``timeout``.

    Args:
        path (str): Video file.
        timeout (float): Seconds per frame. Defaults to ``FRAME_TIMEOUT``.

    Raises:
        SourceError: If the file does not open.
    """

    def __init__(self, path: str, timeout: float = FRAME_TIMEOUT) -> None:
        self.name, self.timeout, self.closed = path, timeout, False
        check_is_file(path)
        self.process = subprocess.Popen(
            [sys.executable, SERVER, path], stdout=subprocess.PIPE)
        message = self._receive()
        self.height, self.width = message['size']
        self.duration = message['duration']
        self.length = round(self.duration * message['rate']) or None

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self.closed:
                message = self._receive()
                if 'frame' not in message:
                    return
                image, number, seconds = message['frame']
                yield Frame(image, number, seconds, number == 0)
        finally:
            self.close()

    def close(self) -> None:
        """End the process."""
        self.closed = True
        self._end()

    def _end(self) -> int:
        """Kill the process and return its exit code."""
        self.process.kill()
        exit_code = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return exit_code

    def _receive(self) -> Dict[str, Any]:
        """Receive the next message of the process.

        Raises:
            SourceError: If the message is an error, or the process ended.
        """
        pipe = self.process.stdout
        assert pipe is not None
        timer = _KillTimer(self.timeout, self.process)
        timer.start()
        try:
            line = pipe.readline()
            message = json.loads(line) if line.endswith(b'\n') else None
            if message and 'shape' in message:
                image = np.frombuffer(
                    bytearray(pipe.read(int(np.prod(message['shape'])))),
                    np.uint8)
                message['frame'] = (image.reshape(message['shape']),
                                    message['number'], message['seconds'])
        except ValueError:  # an incomplete frame
            message = None
        finally:
            timer.cancel()
        if message and 'error' not in message:
            return message
        exit_code = self._end()
        if message:
            raise SourceError(message['error'])
        if self.closed:
            return {}
        if timer.fired:
            raise SourceError(f'{self.name}: a frame took more than '
                              f'{self.timeout:g} seconds')
        reason = f'code {exit_code}' if exit_code >= 0 else (
            signal.Signals(-exit_code).name)
        raise SourceError(f'{self.name}: the decoder crashed, {reason}')


class _KillTimer(threading.Timer):
    """Kills a process after some seconds, unless it is cancelled before."""

    def __init__(self, seconds: float, process: subprocess.Popen) -> None:
        super().__init__(seconds, self._fire, [process])
        self.daemon, self.fired = True, False

    def _fire(self, process: subprocess.Popen) -> None:
        self.fired = True
        process.kill()
