# Copyright (c) The mmlcr authors. All rights reserved.
"""Where frames come from: videos, cameras, addresses, folders and arrays."""
import os
import os.path as osp
import re
import stat
import threading
import time
import warnings
from statistics import median
from typing import (
    Any,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sized,
    Tuple,
    Union,
)
from urllib.parse import urlsplit
from urllib.request import url2pathname

import cv2
import numpy as np

from ..video import FrameClock, SourceError, VideoReader

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
FIRST_PAUSE, LONGEST_PAUSE = 1., 30.  # seconds before a camera is tried again
# Seconds that a live source has to give frames before earlier failures count
# no more, and in which it must open, and give each frame.
STEADY, TIMEOUT = 60., 10.
LOOK = 0.2  # seconds between two looks at whether anybody wants frames
RATE_FRAMES = 8  # frames that tell how many a second a source has
SLOWER = 1.25  # times the wanted distance of frames, and a source is slow
# formats of FFmpeg that give frames no times of the camera
TIMELESS = 'h264', 'hevc', 'm4v', 'mjpeg', 'mpjpeg'
# lists of addresses: their own size says nothing about an end
PLAYLISTS = 'dash', 'hls', 'rtsp', 'sdp'

Address = Union[str, int, 'os.PathLike[str]', Iterable[np.ndarray], 'Source']


class Frame(NamedTuple):
    """A frame of a source."""
    image: np.ndarray  # RGB, uint8, (height, width, 3)
    number: int  # from zero
    seconds: Optional[float]  # from the start; None where nobody knows
    is_first: bool = False  # after a break: what came before is past
    arrived: Optional[float] = None  # by time.monotonic(), of a live source


class FrameRateFilter:
    """Which frames of a source are due, to keep a rate.

    Warns once of a source that has fewer frames a second than wanted.

    Args:
        fps (float, optional): Frames a second that are wanted. Defaults to
            None: every ``interval``-th frame.
        interval (int): Defaults to 1. Not for frames without times.
    """

    def __init__(self, fps: Optional[float] = None, interval: int = 1) -> None:
        self.clock = None if fps is None else FrameClock(fps)
        self.interval = interval
        self._gaps: Optional[List[float]] = []  # None: the rate is known

    def is_due(self, frame: Frame) -> bool:
        """Whether to take a frame; to be asked once of each, in order."""
        if frame.seconds is None:
            return True
        if self.clock is None:
            return frame.number % self.interval == 0
        if self._gaps is not None and not frame.is_first:
            self._gaps.append(frame.seconds - self.clock.previous)
            if len(self._gaps) == RATE_FRAMES:
                self._check_rate(median(self._gaps), self.clock.period)
                self._gaps = None
        return self.clock.is_due(frame.seconds, frame.is_first)

    @staticmethod
    def _check_rate(gap: float, period: float) -> None:
        if gap > SLOWER * period:
            warnings.warn(
                f'the source has {1 / gap:.3g} frames a second, and the model '
                f'was trained on {1 / period:.3g}: it sees motion that much '
                'faster',
                stacklevel=3)


def open_source(source: Address, fps: Optional[float] = None,
                retries: int = 10) -> 'Source':
    """The frames of a source.

    Args:
        source (str | int | PathLike | Iterable[np.ndarray] | Source): Video
            file, number or device of a camera, address (``rtsp://...``,
            ``http://...``, ``file://...``), folder of images, in the order
            of their names, or RGB frames, uint8 ``(height, width, 3)``. An
            address that tells where it ends is a video, and read once; any
            other one is a live stream.
        fps (float, optional): Frames a second of a folder or of arrays; of a
            video in place of its own times. Defaults to None.
        retries (int): How often in a row a camera or live stream that broke
            off is opened again. Defaults to 10.

    Raises:
        SourceError: If it does not open, or is empty.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f'frames a second must be positive, got fps={fps}')
    if isinstance(source, Source):
        return source
    opened = _open(source, fps, retries)
    if opened.is_live and fps is not None:
        raise ValueError(f'{opened.name}: a live source has times of its own, '
                         f'fps={fps} would change nothing')
    return opened


def _open(source: Any, fps: Optional[float], retries: int) -> 'Source':
    if isinstance(source, int) or isinstance(source, str) and re.fullmatch(
            r'\d+', source):
        return Camera(int(source), retries)
    if isinstance(source, str) and re.match('file:', source, re.IGNORECASE):
        source = url2pathname(urlsplit(source).path)
    elif isinstance(source, str) and re.match(r'[A-Za-z][\w+.-]*://', source):
        return _open_address(source, fps, retries)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if osp.isdir(path):
            return ImageFolder(path, fps)
        if osp.exists(path) and stat.S_ISCHR(os.stat(path).st_mode):
            return Camera(path, retries)
        return Video(path, fps)
    return ArraySource(source, fps)


def _open_address(address: str, fps: Optional[float],
                  retries: int) -> 'Source':
    """A video where the address has an end, else a live stream."""
    reader = _open_reader(address)
    container = reader.container
    has_size = container.format.name not in PLAYLISTS and container.size > 0
    if container.duration or has_size:
        return Video(address, fps, reader)
    return LiveStream(address, retries, reader)


def _open_reader(path: str) -> VideoReader:
    is_address = '://' in path
    return VideoReader(
        path, timeout=(TIMEOUT, TIMEOUT) if is_address else None)


def middle_frame(path: str) -> np.ndarray:
    """The frame in the middle of a video or folder, RGB.

    Raises:
        SourceError: If there is none.
    """
    source = open_source(path)
    if isinstance(source, ImageFolder):
        source.files = source.files[len(source.files) // 2:]
    elif isinstance(source, Video):
        with source.reader as reader:
            return reader.frames_at([len(reader) // 2])[0]
    return next(iter(source)).image


class Source:
    """Frames, once; live ones come whether anybody waits or not."""
    is_live = False
    # whether frames may come before they are due
    comes_in_bursts = False
    name = ''
    length: Optional[int] = None  # frames, where that is told before

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """No more frames are wanted; from any thread."""


class ArraySource(Source):
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
    """The images of a folder, numbers in their names in order of size.

    Hidden files are left out, as the ``._NAME.jpg`` that macOS adds.
    """

    def __init__(self, path: str, fps: Optional[float] = None) -> None:
        self.name, self.fps = path, fps
        self.files = sorted((name for name in os.listdir(path)
                             if name.lower().endswith(IMAGES)
                             and name[0] != '.'), key=_by_number)
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
    """A video file, or an address that has an end.

    Args:
        path (str): File or address.
        fps (float, optional): Frames a second in place of the times in the
            file. Defaults to None.
        reader (VideoReader, optional): Of it, if it is open already. Defaults
            to None.

    Raises:
        SourceError: If it does not open.
    """

    def __init__(self,
                 path: str,
                 fps: Optional[float] = None,
                 reader: Optional[VideoReader] = None) -> None:
        if reader is None:
            check_is_file(path)
            reader = _open_reader(path)
        self.name, self.fps, self.reader = path, fps, reader
        self.duration = reader.duration
        self.length = round(self.duration * reader.rate) or None

    def __iter__(self) -> Iterator[Frame]:
        with self.reader:
            for number, (image, seconds) in enumerate(self.reader):
                if self.fps is not None:
                    seconds = number / self.fps
                yield Frame(image, number, seconds, number == 0)
            self.length = number + 1  # the header's was an estimate


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
        with _open_reader(self.name) if opened is None else opened as reader:
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


def check_is_file(path: str) -> None:
    """Raise a :class:`SourceError` if it is none, or empty."""
    if not osp.isfile(path):
        raise SourceError(f'{path}: there is no such video')
    if not osp.getsize(path):
        raise SourceError(f'{path}: an empty file')


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


def _seconds(number: int, fps: Optional[float]) -> Optional[float]:
    return None if fps is None else number / fps


def _by_number(name: str) -> List[Any]:
    """``'img_10'`` after ``'img_9'``."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', name)]
