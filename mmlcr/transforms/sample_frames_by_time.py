# Copyright (c) The mmlcr authors. All rights reserved.
"""Sampling of frames at a fixed time interval, for any frame rate."""
from itertools import count
from typing import List, Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmaction.registry import TRANSFORMS
from mmlcr.video import FrameClock


@TRANSFORMS.register_module()
class SampleFramesByTime(BaseTransform):
    """Sample frames that are ``frame_seconds`` apart.

    It is the counterpart of MMAction2's ``SampleFrames``, whose
    ``frame_interval`` means another speed at another frame rate. A sampled
    clip has the frames that a stream of ``1 / frame_seconds`` frames per
    second selects from the clip's start on (:class:`mmlcr.video.FrameClock`),
    so that training and streaming agree.

    Times are those of the decoder, ``frame_times``, or else the frame number
    divided by ``avg_fps`` of the decoder or by ``fps``. If the frame rate is
    constant and ``frame_seconds`` is a multiple of its period, test clips
    equal those of ``SampleFrames``. A ``RandomChoice`` of several of these
    transforms samples clips at several speeds.

    Required Keys:

    - total_frames
    - start_index
    - frame_times (optional): seconds since the first frame, float64
      ``(total_frames, )``
    - avg_fps (optional)

    Added Keys:

    - frame_inds
    - clip_len
    - frame_interval: None, as with ``UniformSample``
    - num_clips
    - num_due: number of frames of a sampled clip without repetitions, at most
      ``clip_len``

    Args:
        clip_len (int): Number of frames of a sampled clip.
        frame_seconds (float): Time between two of them.
        num_clips (int): Number of sampled clips, which start at random in
            training and evenly spaced in testing. Defaults to 1.
        out_of_bound_opt (str): What follows the last frame of a clip that is
            too short: its first frames (``'loop'``), or the last sampled frame
            again (``'repeat_last'``). Defaults to ``'loop'``.
        test_mode (bool): Whether sampled clips start at fixed frames. Defaults
            to False.
        fps (float, optional): Frames per second of clips without times and
            ``avg_fps``, such as folders of frames. Defaults to None.

    Raises:
        ValueError: If an argument is out of range, or the rate of a clip is
            unknown.
    """

    def __init__(self,
                 clip_len: int,
                 frame_seconds: float,
                 num_clips: int = 1,
                 out_of_bound_opt: str = 'loop',
                 test_mode: bool = False,
                 fps: Optional[float] = None) -> None:
        for name, value in (('clip_len', clip_len),
                            ('frame_seconds', frame_seconds),
                            ('num_clips', num_clips), ('fps', fps)):
            if value is not None and not value > 0:
                raise ValueError(f'{name} must be positive, got {value}')
        if out_of_bound_opt not in ('loop', 'repeat_last'):
            raise ValueError("out_of_bound_opt must be 'loop' or "
                             f"'repeat_last', got {out_of_bound_opt!r}")
        self.clip_len = clip_len
        self.frame_seconds = frame_seconds
        self.num_clips = num_clips
        self.out_of_bound_opt = out_of_bound_opt
        self.test_mode = test_mode
        self.fps = fps

    @property
    def frame_interval(self) -> Optional[float]:
        """Distance of sampled frames; None without ``fps``."""
        return self.fps and max(1., self.frame_seconds * self.fps)

    def transform(self, results: dict) -> dict:
        """Sample the clips.

        Args:
            results (dict): Results with ``total_frames``, ``start_index`` and
                times.

        Returns:
            dict: The same results with ``frame_inds``, shape
            ``(num_clips * clip_len, )``.
        """
        times = self._times(results)
        last = self._last_start(times)
        starts = self._draw_starts(last)
        if self.test_mode:  # as SampleFrames does
            starts = np.array([last // 2])
            if self.num_clips > 1:
                starts = np.round(np.linspace(0, last, self.num_clips))
        clips = [self._sample(times, int(start)) for start in starts]
        results['frame_inds'] = (
            np.concatenate(clips) + results['start_index']).astype(np.int32)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = None
        results['num_clips'] = self.num_clips
        results['num_due'] = len(self._due(times, 0))
        return results

    def _times(self, results: dict) -> np.ndarray:
        """Return the time of each frame in seconds, ``(total_frames, )``."""
        total, times = results['total_frames'], results.get('frame_times')
        if times is not None:
            if len(times) != total:
                raise ValueError(f'{len(times)} times of {total} frames')
            return np.asarray(times, np.float64)
        fps = results.get('avg_fps') or self.fps
        if not fps:
            raise ValueError('the frame rate of the clip is unknown: set fps '
                             'of SampleFramesByTime')
        return np.arange(total) / fps

    def _last_start(self, times: np.ndarray) -> int:
        """Return the last frame at which a whole clip can start."""
        low, high = 0, len(times) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if len(self._due(times, middle)) < self.clip_len:
                high = middle - 1
            else:
                low = middle
        return low

    @cache_randomness
    def _draw_starts(self, last: int) -> np.ndarray:
        """Draw the first frame of each clip, one in each equal segment."""
        positions = np.arange(self.num_clips) + np.random.rand(self.num_clips)
        return np.floor(positions * (last + 1) / self.num_clips)

    def _sample(self, times: np.ndarray, start: int) -> List[int]:
        """Return the ``clip_len`` frame numbers of a clip."""
        frames = self._due(times, start)
        if len(frames) == self.clip_len:
            return frames
        if self.out_of_bound_opt == 'repeat_last':
            return frames + frames[-1:] * (self.clip_len - len(frames))
        return self._due(times, start, loop=True)

    def _due(self, times: np.ndarray, start: int,
             loop: bool = False) -> List[int]:
        """Return the first ``clip_len`` frames that are due, or fewer."""
        clock = FrameClock(1 / self.frame_seconds)
        length = times[-1] - times[0] + (_mean_gap(times) or clock.period)
        total, frames = len(times), []
        for frame in count(start) if loop else range(start, total):
            rounds, index = divmod(frame, total)
            seconds = times[index] + rounds * length - times[start]
            if not clock.is_due(seconds):
                continue
            frames.append(index)
            if len(frames) == self.clip_len:
                break
        return frames

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(clip_len={self.clip_len}, '
                f'frame_seconds={self.frame_seconds}, '
                f'num_clips={self.num_clips}, '
                f'out_of_bound_opt={self.out_of_bound_opt!r}, '
                f'test_mode={self.test_mode}, fps={self.fps})')


def _mean_gap(times: np.ndarray) -> float:
    """Return the mean time between two frames; zero for a single frame."""
    return (times[-1] - times[0]) / max(1, len(times) - 1)
