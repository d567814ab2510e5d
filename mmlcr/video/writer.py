# Copyright (c) The mmlcr authors. All rights reserved.
"""Video files whose pictures are shown when they are due."""
import errno
import os
import os.path as osp
import shutil
from fractions import Fraction
from typing import Any, Optional

import av
import numpy as np
from av.error import FFmpegError

# Bytes that are left free on a disk: the end of a video is written last, and
# without it the video can't be read.
RESERVE = 16 * 2**20
TICKS = 1000  # a second, of the times of an MP4
FORMATS = '.avi', '.mp4'
H264 = dict(preset='veryfast', crf='20', tune='zerolatency')


class VideoWriter:
    """A video, picture by picture, each shown from its time to the next.

    An MP4 holds times to the millisecond, an AVI multiples of ``1 / fps``. The
    last picture is shown as long as the one before.

    Args:
        path (str): ``.mp4`` or ``.avi``.
        fps (float): Frames a second of pictures without times, and of an AVI.

    Raises:
        ValueError: If the file is to have another format.
        OSError: If it can't be written, or the disk is nearly full: while
            there still is room to end it.
    """

    def __init__(self, path: str, fps: float) -> None:
        self.format = osp.splitext(path)[1]
        if self.format not in FORMATS:
            raise ValueError(f'a video is {" or ".join(FORMATS)}, got {path}')
        os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
        self.path, self.fps = path, fps
        self._container: Any = None
        self._stream: Any = None
        self._packet: Any = None  # the last one, until its length is known
        self._start: Optional[float] = None  # time of the first picture
        self._tick = Fraction(1, TICKS)  # seconds
        self._ticks = -1  # at which the last picture is shown
        self._length = self._frame = 1  # ticks of the last picture; 1 / fps

    def add(self, image: np.ndarray, seconds: Optional[float] = None) -> None:
        """One more picture.

        Args:
            image (np.ndarray): RGB, uint8, of the size of the first.
            seconds (float, optional): Its time, counted from anywhere.
                Defaults to None: that of the one before and a frame's.
        """
        folder = osp.dirname(osp.abspath(self.path))
        if shutil.disk_usage(folder).free < RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        try:
            if self._container is None:
                self._open(image)
            self._encode(image, self._due(seconds))
        except FFmpegError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Without this, it can't be read."""
        if self._container is None:
            return
        try:
            if self._packet is not None:
                self._end()
            self._container.close()
        except FFmpegError as error:
            raise self._failed(error) from error
        finally:
            self._container = None

    def _open(self, image: np.ndarray) -> None:
        rate = Fraction(self.fps).limit_denominator(1000)
        if self.format == '.avi':
            codec, pixels, options = 'mjpeg', 'yuvj420p', dict(qmin='2')
            self._tick = 1 / rate
        else:
            codec, pixels, options = 'mpeg4', 'yuv420p', {}
            if 'libx264' in av.codecs_available:
                codec, options = 'libx264', H264
            self._tick = Fraction(1, TICKS)
        self._container = av.open(self.path, 'w')
        stream = self._container.add_stream(codec, rate=rate, options=options)
        stream.codec_context.time_base = self._tick
        self._length = self._frame = max(1, round(1 / self.fps / self._tick))
        height, width = image.shape[:2]
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = pixels
        self._container.start_encoding()
        self._stream = stream

    def _due(self, seconds: Optional[float]) -> int:
        """Time of the next picture, in ticks of the file."""
        if seconds is None:
            return self._ticks + self._frame if self._ticks >= 0 else 0
        if self._start is None:
            self._start = seconds
        due = round((seconds - self._start) / float(self._tick))
        return max(self._ticks + 1, due)

    def _encode(self, image: np.ndarray, due: int) -> None:
        height, width = image.shape[:2]
        image = np.pad(  # codecs take even sizes
            image, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts, frame.time_base = due, self._tick
        for packet in self._stream.encode(frame):
            if self._packet is not None:
                self._mux(due - self._ticks)
            self._packet = packet
        if self._ticks >= 0:
            self._length = due - self._ticks
        self._ticks = due

    def _mux(self, length: int) -> None:
        """Write the last packet, now that it is known how long it is shown."""
        if self.format == '.mp4':
            self._packet.duration = length
        self._container.mux(self._packet)
        self._packet = None

    def _end(self) -> None:
        """Write the last picture; in an AVI, a second time where it ends."""
        again = av.Packet(bytes(self._packet))
        again.pts = again.dts = self._ticks + self._length - 1
        again.stream, again.time_base = self._stream, self._tick
        self._mux(self._length)
        if self.format == '.avi' and self._length > 1:
            self._container.mux(again)

    def _failed(self, error: Any) -> OSError:
        return OSError(error.errno, error.strerror, self.path)
