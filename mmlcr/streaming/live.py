# Copyright (c) The mmlcr authors. All rights reserved.
"""Cameras and live streams: frames come whether they are read or not."""
import threading
import time
import warnings
from typing import Iterator, Optional, Tuple, Union

import cv2
import numpy as np

from mmlcr.video import SourceError, VideoReader
from .frames import Frame, FrameRateFilter
from .sources import PLAYLISTS, Source, open_reader

FIRST_PAUSE, LONGEST_PAUSE = 1., 30.  # seconds before a camera is tried again
STEADY = 60.  # seconds of frames after which earlier failures are forgotten
LOOK = 0.2  # seconds between two checks whether frames are still wanted
# formats of FFmpeg that give frames no times of the camera
TIMELESS = 'h264', 'hevc', 'm4v', 'mjpeg', 'mpjpeg'


class LiveSource(Source):
    """Frames that come whether anybody waits; opened again when they break.

    Pauses between attempts double up to ``LONGEST_PAUSE`` seconds. Failures
    are forgotten once frames have come for ``STEADY`` seconds; but not where
    the stream ends and begins again with the frame that it began with: that
    is a recording which is played once more.

    Args:
        name (str): What errors call it.
        retries (int): How often in a row it is opened again.
    """
    is_live = True

    def __init__(self, name: str, retries: int) -> None:
        self.name, self.retries = name, retries
        self.closed = threading.Event()

    def _connect(self) -> Iterator[Tuple[np.ndarray, Optional[float]]]:
        """Frames until it breaks, and their seconds where they are known.

        Raises:
            SourceError: If it does not open, or breaks.
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
        """Whether anybody still wants frames after so many seconds."""
        return _wait_until(time.monotonic() + seconds, self.closed)

    def close(self) -> None:
        """Also ends a pause."""
        self.closed.set()


class LiveStream(LiveSource):
    """A network stream, by PyAV.

    Args:
        address (str): Its address.
        retries (int): As of :class:`LiveSource`.
        reader (VideoReader): Of it, open.
    """

    def __init__(self, address: str, retries: int,
                 reader: VideoReader) -> None:
        super().__init__(address, retries)
        self._reader: Optional[VideoReader] = reader
        # segments of some seconds come at once
        self.comes_in_bursts = reader.container.format.name in PLAYLISTS

    def _connect(self) -> Iterator[Tuple[np.ndarray, Optional[float]]]:
        opened, self._reader = self._reader, None
        with open_reader(self.name) if opened is None else opened as reader:
            is_timeless = reader.container.format.name in TIMELESS
            for image, seconds in reader:
                yield image, None if is_timeless else seconds


class Camera(LiveSource):
    """A camera, by OpenCV.

    Args:
        device (str | int): Its number, or file.
        retries (int): As of :class:`LiveSource`.

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
                known, image = capture.read()
                if not known:
                    raise SourceError(f'{self.name}: gives no frame')
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), None
        finally:
            capture.release()


class LatestFrameReader:
    """Frames that are due of a live source, the latest and no other.

    A thread reads them, a source that is not live as if it were: at its own
    rate, where that is known. Whoever takes too long for one misses those that
    come meanwhile, but for the last. The thread ends when no more frames are
    wanted, or the main thread ends.

    Args:
        source (Source): Not read by anybody else.
        frame_filter (FrameRateFilter): Likewise.
    """

    def __init__(self, source: Source, frame_filter: FrameRateFilter) -> None:
        self.dropped = 0  # frames that were due, so far
        self._source, self._filter = source, frame_filter
        self._is_paced = source.comes_in_bursts or not source.is_live
        self._frame: Optional[Frame] = None
        self._error: Optional[BaseException] = None
        self._ended = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        # The interpreter waits for it: a thread that it ends inside of a
        # library may take the process along.
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
        except BaseException as error:  # raised where the frames are wanted
            self._error = error
        finally:
            if hasattr(frames, 'close'):
                frames.close()  # what it has open is closed in its thread
            with self._changed:
                self._ended = True
                self._changed.notify()


def _is_running() -> bool:
    """Whether the program has not come to its end."""
    return threading.main_thread().is_alive()


def _wait_until(when: float, closed: threading.Event) -> bool:
    """Whether that time came before frames were wanted no more."""
    while not closed.is_set() and _is_running():
        left = when - time.monotonic()
        if left <= 0:
            return True
        closed.wait(min(LOOK, left))
    return False
