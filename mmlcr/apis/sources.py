# Copyright (c) The mmlcr authors. All rights reserved.
"""Where frames come from: videos, cameras, addresses, folders and arrays."""
import os
import os.path as osp
import re
import threading
import time
import warnings
from typing import (
    Any,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sized,
    Union,
)

import cv2
import numpy as np

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
FIRST_PAUSE, LONGEST_PAUSE = 1., 30.  # seconds before a camera is tried again
# Share of the frames that a video tells of and that may be missing: for some
# containers the number is an estimate.
MAY_BE_MISSING = 0.05

Address = Union[str, int, 'os.PathLike[str]', Iterable[np.ndarray], 'Source']


class SourceError(RuntimeError):
    """A source does not open, has no frames or broke off; it is named."""


class UnknownRateError(SourceError):
    """A video does not say how many frames a second it has."""


class Frame(NamedTuple):
    """A frame of a source."""
    image: np.ndarray  # RGB, uint8, (height, width, 3)
    number: int  # from zero
    seconds: Optional[float]  # from the start; None where nobody knows
    is_first: bool = False  # after a break: what came before is past
    arrived: Optional[float] = None  # by time.monotonic(), of a live source


class Pace:
    """Which frames of a source are due, to keep a rate.

    Args:
        fps (float, optional): Frames a second that are wanted. Defaults to
            None: every ``interval``-th frame.
        interval (int): Defaults to 1. Not for frames without times.
    """

    def __init__(self, fps: Optional[float] = None, interval: int = 1) -> None:
        self.period = None if fps is None else 1 / fps
        self.interval = interval
        self.next_due = self.previous = 0.

    def is_due(self, frame: Frame) -> bool:
        """Whether to take a frame; to be asked once of each, in order."""
        if frame.seconds is None:
            return True
        if self.period is None:
            return frame.number % self.interval == 0
        gap = frame.seconds - self.previous
        self.previous = frame.seconds
        late = frame.seconds - self.next_due
        if late < -gap / 2:  # the next one is nearer
            return False
        if late > self.period or frame.is_first:  # after a pause
            self.next_due = frame.seconds
        self.next_due += self.period
        return True


def open_source(source: Address, fps: Optional[float] = None,
                retries: int = 10) -> 'Source':
    """The frames of a source.

    Args:
        source (str | int | PathLike | Iterable[np.ndarray] | Source): Video
            file, number of a camera, address of a network stream
            (``rtsp://...``, ``http://...``), folder of images, in the order
            of their names, or RGB frames, uint8 ``(height, width, 3)``.
        fps (float, optional): Frames a second of a folder or of arrays; of a
            video in place of what it says. Defaults to None.
        retries (int): How often in a row a camera or stream that broke off is
            opened again. Defaults to 10.

    Raises:
        SourceError: If it does not open, or is empty.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f'frames a second must be positive, got fps={fps}')
    if isinstance(source, Source):
        return source
    if isinstance(source, int) or isinstance(source, str) and re.fullmatch(
            r'\d+', source):
        return Camera(int(source), retries)
    if isinstance(source, str) and re.match(r'[a-z]+://', source):
        return Camera(source, retries)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if osp.isdir(path):
            return ImageFolder(path, fps)
        return Video(path, fps)
    return Arrays(source, fps)


def middle_frame(path: str) -> np.ndarray:
    """The frame in the middle of a video or folder, RGB.

    Raises:
        SourceError: If there is none.
    """
    source = open_source(path)
    if isinstance(source, ImageFolder):
        source.files = source.files[len(source.files) // 2:]
    elif isinstance(source, Video) and source.length:
        source.capture.set(cv2.CAP_PROP_POS_FRAMES, source.length // 2)
        source.length = None  # fewer are left
    return next(iter(source)).image


class Source:
    """Frames, once; live ones come whether anybody waits or not."""
    is_live = False
    name = ''
    length: Optional[int] = None  # frames, where that is known before

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """No more frames are wanted; from any thread."""


class Arrays(Source):
    """RGB frames that somebody else makes."""

    def __init__(self, frames: Iterable[np.ndarray],
                 fps: Optional[float]) -> None:
        self.frames = frames
        self.fps = fps
        self.name = type(frames).__name__
        self.length = len(frames) if isinstance(frames, Sized) else None

    def __iter__(self) -> Iterator[Frame]:
        for number, image in enumerate(self.frames):
            yield Frame(image, number, _seconds(number, self.fps), number == 0)


class ImageFolder(Source):
    """The images of a folder, numbers in their names in order of size."""

    def __init__(self, path: str, fps: Optional[float]) -> None:
        self.name, self.fps = path, fps
        self.files = sorted((name for name in os.listdir(path)
                             if name.lower().endswith(IMAGES)), key=_by_number)
        self.length = len(self.files)
        if not self.files:
            raise SourceError(f'{path}: a folder without images '
                              f'({", ".join(IMAGES)})')

    def __iter__(self) -> Iterator[Frame]:
        for number, name in enumerate(self.files):
            yield Frame(
                read_image(osp.join(self.name, name)), number,
                _seconds(number, self.fps), number == 0)


class Video(Source):
    """A video file, by OpenCV."""

    def __init__(self, path: str, fps: Optional[float]) -> None:
        if not osp.isfile(path):
            raise SourceError(f'{path}: there is no such video')
        if not osp.getsize(path):
            raise SourceError(f'{path}: an empty file')
        self.name = path
        self.capture = cv2.VideoCapture(path)
        if not self.capture.isOpened():
            raise SourceError(f'{path}: not a video that OpenCV can open')
        self.fps = fps or self.capture.get(cv2.CAP_PROP_FPS)
        if not 0 < self.fps < 1000:
            raise UnknownRateError(f'{path}: says it has {self.fps} frames a '
                                   'second; tell how many it has')
        length = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = length if length > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        try:
            while True:
                image = self._read()
                if image is None:
                    break
                yield Frame(image, number, number / self.fps, number == 0)
                number += 1
        finally:
            self.capture.release()
        if not number:
            raise SourceError(f'{self.name}: no frame of it can be decoded')
        if self.length and number < (1 - MAY_BE_MISSING) * self.length - 1:
            raise SourceError(f'{self.name}: broke off after {number} of '
                              f'{self.length} frames')

    def _read(self) -> Optional[np.ndarray]:
        """The next frame, RGB; None after the last."""
        try:
            known, image = self.capture.read()
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if known else None
        except (cv2.error, MemoryError) as error:
            said = ' '.join(str(error).split())
            raise SourceError(f'{self.name}: {said}') from error


class Camera(Source):
    """A camera or network stream, by OpenCV, opened again when it breaks.

    Pauses between attempts double up to ``LONGEST_PAUSE`` seconds.
    """
    is_live = True

    def __init__(self, address: Union[str, int], retries: int) -> None:
        self.address, self.retries = address, retries
        self.name = f'camera {address}' if isinstance(
            address, int) else address
        self.closed = threading.Event()
        self.capture = cv2.VideoCapture(address)
        if not self.capture.isOpened():
            raise SourceError(f'{self.name}: does not open')

    def __iter__(self) -> Iterator[Frame]:
        start, number, failures, is_first = time.monotonic(), 0, 0, True
        try:
            while not self.closed.is_set():
                known, image = self.capture.read()
                if known:
                    yield Frame(
                        cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number,
                        time.monotonic() - start, is_first)
                    number, failures, is_first = number + 1, 0, False
                    continue
                if failures == self.retries:
                    raise SourceError(f'{self.name}: broke off after {number} '
                                      f'frames, and {failures} attempts to '
                                      'open it again failed')
                pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
                warnings.warn(
                    f'{self.name}: broke off after {number} frames, to be '
                    f'opened again in {pause:g} s',
                    stacklevel=2)
                failures, is_first = failures + 1, True
                self.closed.wait(pause)
                self.capture.release()
                self.capture = cv2.VideoCapture(self.address)
        finally:
            self.capture.release()

    def close(self) -> None:
        """Also ends a pause."""
        self.closed.set()


class Latest:
    """Frames that are due of a live source, the latest and no other.

    A thread reads them, a source that is not live as if it were: at its own
    rate, where that is known. Whoever takes too long for one misses those that
    come meanwhile, but for the last.

    Args:
        source (Source): Not read by anybody else.
        pace (Pace): Likewise.
    """

    def __init__(self, source: Source, pace: Pace) -> None:
        self.dropped = 0  # frames that were due, so far
        self._source, self._pace = source, pace
        self._frame: Optional[Frame] = None
        self._error: Optional[BaseException] = None
        self._ended = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)

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
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        was_first, start = False, time.monotonic()
        try:
            for frame in self._source:
                if not self._source.is_live and frame.seconds is not None:
                    ahead = start + frame.seconds - time.monotonic()
                    self._closed.wait(max(0., ahead))
                if self._closed.is_set():
                    return
                was_first = was_first or frame.is_first
                if not self._pace.is_due(frame):
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
            with self._changed:
                self._ended = True
                self._changed.notify()


def read_image(path: str) -> np.ndarray:
    """An image file, RGB, uint8, ``(height, width, 3)``.

    Raises:
        SourceError: If OpenCV can't read it, or it does not fit in memory.
    """
    try:
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is not None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except (cv2.error, MemoryError) as error:  # a header may claim any size
        said = ' '.join(str(error).split())
        raise SourceError(
            f'{path}: not an image that can be read: {said}') from error
    raise SourceError(f'{path}: not an image that can be read')


def _seconds(number: int, fps: Optional[float]) -> Optional[float]:
    return None if fps is None else number / fps


def _by_number(name: str) -> List[Any]:
    """``'img_10'`` after ``'img_9'``."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', name)]
