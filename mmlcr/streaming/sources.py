# Copyright (c) The mmlcr authors. All rights reserved.
"""Finite sources of frames: videos, folders of images and arrays."""
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
# formats that refer to other addresses: their own size is not the video's
PLAYLISTS = 'dash', 'hls', 'rtsp', 'sdp'
TIMEOUT = 10.  # seconds to open an address, and for each of its frames


class Source:
    """Base class of sources: an iterable of frames that is read once."""
    is_live = False
    # whether frames may arrive earlier than their times
    comes_in_bursts = False
    name = ''
    length: Optional[int] = None  # number of frames, if known in advance

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Stop iterating; may be called from any thread."""


class ArraySource(Source):
    """RGB frames given as an iterable of arrays."""

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
    """The images of a folder, in natural order: ``9.jpg`` before ``10.jpg``.

    Hidden files are ignored, such as the ``._NAME.jpg`` that macOS adds.
    """

    def __init__(self, path: str, fps: Optional[float] = None) -> None:
        self.name, self.fps = path, fps
        self.files = sorted((name for name in os.listdir(path)
                             if name.lower().endswith(IMAGES)
                             and name[0] != '.'), key=_natural_key)
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
    """A video file, or the address of one.

    Args:
        path (str): File or address.
        fps (float, optional): Frames per second, in place of the times in
            the file. Defaults to None.
        reader (VideoReader, optional): Its reader, if it is already open.
            Defaults to None.

    Raises:
        SourceError: If the video does not open.
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
            self.length = number + 1  # before, an estimate by the header


def open_reader(path: str) -> VideoReader:
    """Open the reader of a file, or of an address with a timeout."""
    is_address = '://' in path
    return VideoReader(
        path, timeout=(TIMEOUT, TIMEOUT) if is_address else None)


def check_is_file(path: str) -> None:
    """Raise a :class:`SourceError` if there is no file, or it is empty."""
    if not osp.isfile(path):
        raise SourceError(f'{path}: there is no such video')
    if not osp.getsize(path):
        raise SourceError(f'{path}: an empty file')


def read_image(path: str) -> np.ndarray:
    """Read an image file as RGB, uint8, ``(height, width, 3)``.

    Raises:
        SourceError: If OpenCV can't read it, or it does not fit in memory.
    """
    try:
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is not None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except (cv2.error, MemoryError) as error:  # a header may claim any size
        reason = ' '.join(str(error).split())
        raise SourceError(
            f'{path}: not an image that can be read: {reason}') from error
    raise SourceError(f'{path}: not an image that can be read')


def _seconds(number: int, fps: Optional[float]) -> Optional[float]:
    return None if fps is None else number / fps


def _natural_key(name: str) -> List[Any]:
    """Sort key that puts ``'img_10'`` after ``'img_9'``."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', name)]
