# Copyright (c) The mmlcr authors. All rights reserved.
"""Writing of video files with a time for each image."""
import errno
import os
import os.path as osp
import shutil
from fractions import Fraction
from typing import Any, Optional

import av
import numpy as np
from av.error import FFmpegError

# Bytes to leave free on a disk: the index of a video is written last, and
# without it the video can't be read.
MIN_FREE_BYTES = 16 * 2**20
MP4_TICKS = 1000  # resolution of the times in an MP4, per second
FORMATS = '.avi', '.mp4'
H264 = dict(preset='veryfast', crf='20', tune='zerolatency')


class VideoWriter:
    """Writes a video image by image, each shown from its time to the next.

    An MP4 has times in milliseconds, an AVI multiples of ``1 / fps``. The last
    image is shown as long as the one before.

    Args:
        path (str): ``.mp4`` or ``.avi``.
        fps (float): Frames per second of images without times, and of an AVI.

    Raises:
        ValueError: If the path has another suffix.
        OSError: If the file can't be written, or the disk has less than
            ``MIN_FREE_BYTES`` left. The file can still be closed then.
    """

    def __init__(self, path: str, fps: float) -> None:
        self.format = osp.splitext(path)[1]
        if self.format not in FORMATS:
            raise ValueError(f'a video is {" or ".join(FORMATS)}, got {path}')
        os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
        self.path, self.fps = path, fps
        self._container: Any = None
        self._stream: Any = None
        self._packet: Any = None  # the last one, until its duration is known
        self._start: Optional[float] = None  # time of the first image
        self._tick = Fraction(1, MP4_TICKS)  # seconds
        self._last_pts = -1  # ticks at which the last image is shown
        # durations in ticks: of the last image, and 1 / fps
        self._duration = self._frame_duration = 1

    def add(self, image: np.ndarray, seconds: Optional[float] = None) -> None:
        """Add an image.

        Args:
            image (np.ndarray): RGB, uint8, ``(height, width, 3)``, of the size
                of the first.
            seconds (float, optional): Time of the image, from any origin.
                Defaults to None: ``1 / fps`` after the image before.
        """
        folder = osp.dirname(osp.abspath(self.path))
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        try:
            if self._container is None:
                self._open(image)
            self._encode(image, self._pts(seconds))
        except FFmpegError as error:
            raise self._os_error(error) from error

    def close(self) -> None:
        """Write the last image and the index of the file."""
        if self._container is None:
            return
        try:
            if self._packet is not None:
                self._end()
            self._container.close()
        except FFmpegError as error:
            raise self._os_error(error) from error
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
            self._tick = Fraction(1, MP4_TICKS)
        self._container = av.open(self.path, 'w')
        stream = self._container.add_stream(codec, rate=rate, options=options)
        stream.codec_context.time_base = self._tick
        self._duration = self._frame_duration = max(
            1, round(1 / self.fps / self._tick))
        height, width = image.shape[:2]
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = pixels
        self._container.start_encoding()
        self._stream = stream

    def _pts(self, seconds: Optional[float]) -> int:
        """Return the time of the next image in ticks of the file."""
        if seconds is None:
            is_first = self._last_pts < 0
            return 0 if is_first else self._last_pts + self._frame_duration
        if self._start is None:
            self._start = seconds
        pts = round((seconds - self._start) / float(self._tick))
        return max(self._last_pts + 1, pts)

    def _encode(self, image: np.ndarray, pts: int) -> None:
        height, width = image.shape[:2]
        image = np.pad(  # codecs need even sizes
            image, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts, frame.time_base = pts, self._tick
        for packet in self._stream.encode(frame):
            if self._packet is not None:
                self._mux(pts - self._last_pts)
            self._packet = packet
        if self._last_pts >= 0:
            self._duration = pts - self._last_pts
        self._last_pts = pts

    def _mux(self, duration: int) -> None:
        """Write the last packet, now that its duration in ticks is known."""
        if self.format == '.mp4':
            self._packet.duration = duration
        self._container.mux(self._packet)
        self._packet = None

    def _end(self) -> None:
        """Write the last image.

        An AVI has no durations, so there it is written again, one tick before
        its end.
        """
        again = av.Packet(bytes(self._packet))
        again.pts = again.dts = self._last_pts + self._duration - 1
        again.stream, again.time_base = self._stream, self._tick
        self._mux(self._duration)
        if self.format == '.avi' and self._duration > 1:
            self._container.mux(again)

    def _os_error(self, error: Any) -> OSError:
        return OSError(error.errno, error.strerror, self.path)
