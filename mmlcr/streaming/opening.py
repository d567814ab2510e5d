# Copyright (c) The mmlcr authors. All rights reserved.
"""Open sources of frames by path, address, device or array."""
import os
import os.path as osp
import re
import stat
from typing import Any, Iterable, Optional, Union
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from .live import Camera, LiveStream
from .sources import (
    PLAYLISTS,
    ArraySource,
    ImageFolder,
    Source,
    Video,
    open_reader,
)

Address = Union[str, int, 'os.PathLike[str]', Iterable[np.ndarray], Source]


def open_source(source: Address, fps: Optional[float] = None,
                retries: int = 10) -> Source:
    """Open a source of frames.

    Args:
        source (str | int | PathLike | Iterable[np.ndarray] | Source): Video
            file, number or device of a camera, address (``rtsp://...``,
            ``http://...``, ``file://...``), folder of images, in the order
            of their names, or RGB frames, uint8 ``(height, width, 3)``. An
            address with a known duration or size is a video, read once; any
            other one is a live stream.
        fps (float, optional): Frames per second of a folder or of arrays;
            for a video, it replaces the video's own times. Defaults to None.
        retries (int): How many times in a row a camera or live stream is
            reopened after it broke off. Defaults to 10.

    Raises:
        SourceError: If the source does not open, or is empty.
        ValueError: If ``fps`` is not positive, or the source is live.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f'fps must be positive, got {fps}')
    if isinstance(source, Source):
        return source
    opened = _open(source, fps, retries)
    if opened.is_live and fps is not None:
        raise ValueError(f'{opened.name}: a live source has its own times, '
                         f'fps={fps} has no effect')
    return opened


def _open(source: Any, fps: Optional[float], retries: int) -> Source:
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
                  retries: int) -> Source:
    """Open a video if duration or size are known, else a live stream."""
    reader = open_reader(address)
    container = reader.container
    has_size = container.format.name not in PLAYLISTS and container.size > 0
    if container.duration or has_size:
        return Video(address, fps, reader)
    return LiveStream(address, retries, reader)


def middle_frame(path: str) -> np.ndarray:
    """Read the middle frame of a video or folder, RGB.

    Raises:
        SourceError: If it can't be read.
    """
    source = open_source(path)
    if isinstance(source, ImageFolder):
        source.files = source.files[len(source.files) // 2:]
    elif isinstance(source, Video):
        with source.reader as reader:
            return reader.frames_at([len(reader) // 2])[0]
    return next(iter(source)).image
