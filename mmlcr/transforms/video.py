# Copyright (c) The mmlcr authors. All rights reserved.
"""Opening and decoding of videos, with the same reader as streams."""
import io
import os.path as osp
from typing import Any, BinaryIO, Optional, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import get

from mmaction.registry import TRANSFORMS
from mmlcr.video import VideoReader


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video, and add the number of its frames and their times.

    It replaces ``DecordInit``, also reads what decord can't (AV1, recordings
    of browsers), and counts the frames that a video shows rather than those of
    its header (:class:`mmlcr.video.VideoReader`). With :class:`VideoDecode`,
    pixels are the same wherever decord reads a file correctly. MMAction2's
    ``MMAction2Inferencer`` replaces both with its own transforms.

    Required Keys:

    - filename: path, to which ``.mp4`` is added if it has no suffix, as in
      MMAction2; or array: RGB frames, uint8, ``(frames, height, width, 3)``
    - open_cached (optional): what a data set with ``cache='ram'`` opens
      videos with, :meth:`mmlcr.video.FrameCache.open` of the clip

    Added Keys:

    - video_reader: a :class:`mmlcr.video.VideoReader`, or a
      :class:`mmlcr.video.CachedVideo`
    - total_frames: number of frames that are shown
    - avg_fps: mean frames per second, by their times
    - frame_times: time of each frame in seconds from the first one, float64,
      ``(total_frames, )``

    Deleted Keys:

    - open_cached

    Args:
        num_threads (int): Number of threads of the decoder. Defaults to 1.
        io_backend (str): Name of MMEngine's file backend. Files of another
            one than ``'disk'`` are read into memory. Defaults to ``'disk'``.
        **kwargs: Arguments of the backend.
    """

    def __init__(self,
                 num_threads: int = 1,
                 io_backend: str = 'disk',
                 **kwargs: Any) -> None:
        self.num_threads, self.io_backend = num_threads, io_backend
        self.backend_args: Optional[dict] = None
        if io_backend != 'disk':
            self.backend_args = dict(backend=io_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Open the video.

        Raises:
            SourceError: If it does not open, or no frame can be decoded.
        """
        if 'array' in results:  # the key of MMAction2's ArrayDecode
            results['total_frames'] = len(results['array'])
            return results
        path = results['filename']
        if not osp.splitext(path)[1] and not osp.exists(path):
            path += '.mp4'
        open_cached = results.pop('open_cached', None)
        reader = (open_cached(path, lambda: self._open(path))
                  if open_cached else self._open(path))
        results.update(
            video_reader=reader,
            total_frames=len(reader),
            avg_fps=reader.fps,
            frame_times=reader.times)
        return results

    def _open(self, path: str) -> VideoReader:
        video: Union[str, BinaryIO] = path
        if self.backend_args is not None:
            video = io.BytesIO(get(path, backend_args=self.backend_args))
        return VideoReader(video, path, num_threads=self.num_threads)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(num_threads={self.num_threads}, '
                f'io_backend={self.io_backend!r})')


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames of a video; replaces ``DecordDecode``.

    Required Keys:

    - video_reader: added by :class:`VideoInit`; or array
    - frame_inds: numbers of the frames

    Added Keys:

    - imgs: frames, RGB, uint8, each ``(height, width, 3)``
    - original_shape: height and width
    - img_shape: height and width

    Deleted Keys:

    - video_reader
    """

    def transform(self, results: dict) -> dict:
        """Decode the frames, and close the video.

        Raises:
            SourceError: If no frame can be decoded.
        """
        numbers = np.ravel(results['frame_inds'])
        if 'array' in results:
            images = [results['array'][number].copy() for number in numbers]
        else:
            with results.pop('video_reader') as reader:
                images = reader.frames_at(numbers)
        results.update(
            frame_inds=numbers,
            imgs=images,
            original_shape=images[0].shape[:2],
            img_shape=images[0].shape[:2])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
