# Copyright (c) The mmlcr authors. All rights reserved.
"""Cameras and live streams, whose frames arrive at their own pace."""
import threading
import time
import warnings
from typing import Iterator, Optional, Tuple, Union

import cv2
import numpy as np

from mmlcr.video import SourceError, VideoReader
from .frames import Frame, FrameRateFilter
from .sources import PLAYLISTS, Source, open_reader

FIRST_PAUSE, LONGEST_PAUSE = 1., 30.  # seconds before a source is reopened
STEADY = 60.  # seconds of frames that reset the count of failures
POLL_SECONDS = 0.2  # interval of the checks whether the reader was closed
# FFmpeg formats without timestamps of the camera
TIMELESS = 'h264', 'hevc', 'm4v', 'mjpeg', 'mpjpeg'


class LiveSource(Source):
    """A live source, which is reopened when it breaks off.

    Pauses between attempts double up to ``LONGEST_PAUSE`` seconds. The count
    of failures is reset once frames have come for ``STEADY`` seconds, unless
    the reopened source starts with the same frame as before: then it is a
    recording that is replayed.

    Args:
        name (str): Name of the source in messages.
        retries (int): How many times in a row it is reopened.
    """
    is_live = True

    def __init__(self, name: str, retries: int) -> None:
        self.name, self.retries = name, retries
        self.closed = threading.Event()

    def _connect(self) -> Iterator[Tuple[np.ndarray, Optional[float]]]:
        """Yield frames until the source breaks off, and their times if known.

        Raises:
            SourceError: If the source does not open, or breaks off.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        start, number, failures = time.monotonic(), 0, 0
        begins_with: Optional[np.ndarray] = None
        while True:
            opened, is_first, is_replay = time.monotonic(), True, False
            reason = 'it ended'
            try:
                for image, seconds in self._connect():
                    now = time.monotonic()
                    seconds = now - start if seconds is None else (
                        opened - start + seconds)
                    if begins_with is None:
                        begins_with = image
                    elif is_first:
                        is_replay = np.array_equal(begins_with, image)
                    yield Frame(image, number, seconds, is_first)
                    number, is_first = number + 1, False
                    if self.closed.is_set():
                        return
            except SourceError as error:
                reason = str(error).replace(f'{self.name}: ', '')
            lasted = time.monotonic() - opened
            if lasted > STEADY and not is_first and not is_replay:
                failures = 0
            if failures == self.retries:
                raise SourceError(
                    f'{self.name}: broke off after {number} frames, and '
                    f'{failures} attempts to open it again failed; the last: '
                    f'{reason}')
            pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
            warnings.warn(
                f'{self.name}: broke off after {number} frames ({reason}), to '
                f'be opened again in {pause:g} s',
                stacklevel=2)
            failures += 1
            if not self._wait(pause):
                return

    def _wait(self, seconds: float) -> bool:
        """Wait; return False if the source was closed meanwhile."""
        return _wait_until(time.monotonic() + seconds, self.closed)

    def close(self) -> None:
        """Stop reading, and end a pause between attempts."""
        self.closed.set()


class LiveStream(LiveSource):
    """A network stream, read by PyAV.

    Args:
        address (str): Address of the stream.
        retries (int): See :class:`LiveSource`.
        reader (VideoReader): Its reader, already open.
    """

    def __init__(self, address: str, retries: int,
                 reader: VideoReader) -> None:
        super().__init__(address, retries)
        self._reader: Optional[VideoReader] = reader
        # playlists deliver segments of some seconds at once
        self.comes_in_bursts = reader.container.format.name in PLAYLISTS

    def _connect(self) -> Iterator[Tuple[np.ndarray, Optional[float]]]:
        opened, self._reader = self._reader, None
        with open_reader(self.name) if opened is None else opened as reader:
            is_timeless = reader.container.format.name in TIMELESS
            for image, seconds in reader:
                yield image, None if is_timeless else seconds


class Camera(LiveSource):
    """A camera, read by OpenCV.

    Args:
        device (str | int): Number or device file of the camera.
        retries (int): See :class:`LiveSource`.

    Raises:
        SourceError: If it does not open.
    """

    def __init__(self, device: Union[str, int], retries: int) -> None:
        super().__init__(f'camera {device}', retries)
        self.device = device
        self.capture: Optional[cv2.VideoCapture] = self._open()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.device)
        if not capture.isOpened():
            raise SourceError(f'{self.name}: does not open')
        return capture

    def _connect(self) -> Iterator[Tuple[np.ndarray, Optional[float]]]:
        capture, self.capture = self.capture or self._open(), None
        try:
            while True:
                is_read, image = capture.read()
                if not is_read:
                    raise SourceError(f'{self.name}: gives no frame')
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), None
        finally:
            capture.release()


class LatestFrameReader:
    """Iterates over a source live: always the latest frame that is due.

    A thread reads the source. A source that is not live is read at its own
    frame rate, if that is known. Frames that arrive while the consumer is
    busy are dropped, except the last one. The thread ends when the iterator
    is closed or the main thread ends.

    Args:
        source (Source): The source, owned by this reader.
        frame_filter (FrameRateFilter): Its filter, owned by this reader.
    """

    def __init__(self, source: Source, frame_filter: FrameRateFilter) -> None:
        self.dropped = 0  # due frames that were dropped so far
        self._source, self._filter = source, frame_filter
        self._is_paced = source.comes_in_bursts or not source.is_live
        self._frame: Optional[Frame] = None
        self._error: Optional[BaseException] = None
        self._ended = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        # not a daemon: if the interpreter killed the thread inside of FFmpeg
        # or OpenCV, the process could crash
        self._thread = threading.Thread(target=self._read, daemon=False)

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._frame is not None or self._ended)
                    frame, self._frame = self._frame, None
                if frame is None:
                    break
                yield frame
        finally:
            self._closed.set()
            self._source.close()
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        was_first, start = False, time.monotonic()
        frames = iter(self._source)
        try:
            for frame in frames:
                if self._is_paced and frame.seconds is not None:
                    _wait_until(start + frame.seconds, self._closed)
                if self._closed.is_set() or not _is_running():
                    break
                was_first = was_first or frame.is_first
                if not self._filter.is_due(frame):
                    continue
                with self._changed:
                    if self._frame is not None:
                        self.dropped += 1
                        was_first = was_first or self._frame.is_first
                    self._frame = frame._replace(
                        is_first=was_first, arrived=time.monotonic())
                    self._changed.notify()
                was_first = False
        except BaseException as error:  # raised again in __iter__
            self._error = error
        finally:
            if hasattr(frames, 'close'):
                frames.close()  # release decoders in the thread that uses them
            with self._changed:
                self._ended = True
                self._changed.notify()


def _is_running() -> bool:
    """Whether the main thread is alive."""
    return threading.main_thread().is_alive()


def _wait_until(when: float, closed: threading.Event) -> bool:
    """Wait until a time; return False if the reader was closed before."""
    while not closed.is_set() and _is_running():
        left = when - time.monotonic()
        if left <= 0:
            return True
        closed.wait(min(POLL_SECONDS, left))
    return False
