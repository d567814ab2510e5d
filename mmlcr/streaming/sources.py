# Copyright (c) The mmlcr authors. All rights reserved.
"""Sources of frames that end: videos, folders of images and arrays."""
import os
import os.path as osp
import re
from typing import (
    Any,
    Iterable,
    Iterator,
    List,
    Optional,
    Sized,
)

import cv2
import numpy as np

from mmlcr.video import SourceError, VideoReader
from .frames import Frame

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
# lists of addresses: their own size says nothing about an end
PLAYLISTS = 'dash', 'hls', 'rtsp', 'sdp'
TIMEOUT = 10.  # seconds in which an address must open, and give each frame


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
            reader = open_reader(path)
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


def open_reader(path: str) -> VideoReader:
    """The reader of a file, or of an address with a time limit."""
    is_address = '://' in path
    return VideoReader(
        path, timeout=(TIMEOUT, TIMEOUT) if is_address else None)


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


def _seconds(number: int, fps: Optional[float]) -> Optional[float]:
    return None if fps is None else number / fps


def _by_number(name: str) -> List[Any]:
    """``'img_10'`` after ``'img_9'``."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', name)]
