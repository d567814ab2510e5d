# Copyright (c) The mmlcr authors. All rights reserved.
"""Sampling of frames a fixed time apart, at any frame rate of a clip."""
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

    The counterpart of MMAction2's ``SampleFrames``, whose ``frame_interval``
    is another speed in a clip of another rate. A sampled clip holds the frames
    that a stream of ``1 / frame_seconds`` frames a second takes from there on
    (:class:`mmlcr.video.FrameClock`), so that the model sees in training what
    it sees in use.

    Times are those of the decoder, ``frame_times``, else frame number by
    ``avg_fps`` of the decoder or ``fps``. At a constant rate of which
    ``frame_seconds`` is a multiple, test clips are those of ``SampleFrames``.
    For clips of several speeds put several of this transform into a
    ``RandomChoice``.

    Required Keys:

    - total_frames
    - start_index
    - frame_times (optional): seconds since the first frame, float64
      ``(total_frames, )``
    - avg_fps (optional)

    Added Keys:

    - frame_inds
    - clip_len
    - frame_interval: None, as of ``UniformSample``
    - num_clips
    - num_due: frames of the whole clip that a sampled one may have; at most
      ``clip_len``, and fewer where frames are repeated

    Args:
        clip_len (int): Frames of a sampled clip.
        frame_seconds (float): Time between two of them.
        num_clips (int): Sampled clips; at random places in training, evenly
            spaced in testing. Defaults to 1.
        out_of_bound_opt (str): What follows the last frame of a clip that is
            too short: its first ones (``'loop'``) or the last sampled one
            again (``'repeat_last'``). Defaults to ``'loop'``.
        test_mode (bool): Whether places are not random. Defaults to False.
        fps (float, optional): Rate of clips without times and ``avg_fps``,
            such as folders of frames. Defaults to None.

    Raises:
        ValueError: If an argument is out of range, or nothing tells the rate
            of a clip.
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
        """Distance in frames, if ``fps`` tells it beforehand."""
        return self.fps and max(1., self.frame_seconds * self.fps)

    def transform(self, results: dict) -> dict:
        """Sample the clips.

        Args:
            results (dict): With ``total_frames``, ``start_index`` and times.

        Returns:
            dict: The same, with ``frame_inds`` of ``num_clips * clip_len``.
        """
        times = self._times(results)
        last = self._last_start(times)
        starts = self._draw_starts(last)
        if self.test_mode:  # as SampleFrames
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
        """Seconds of each frame, ``(total_frames, )``."""
        total, times = results['total_frames'], results.get('frame_times')
        if times is not None:
            if len(times) != total:
                raise ValueError(f'{len(times)} times of {total} frames')
            return np.asarray(times, np.float64)
        fps = results.get('avg_fps') or self.fps
        if not fps:
            raise ValueError('nothing tells how many frames a second the clip '
                             'has: set fps of SampleFramesByTime')
        return np.arange(total) / fps

    def _last_start(self, times: np.ndarray) -> int:
        """The last frame at which a clip may begin so that it fits."""
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
        """Frames at which clips begin, one in each of as many segments."""
        places = np.arange(self.num_clips) + np.random.rand(self.num_clips)
        return np.floor(places * (last + 1) / self.num_clips)

    def _sample(self, times: np.ndarray, start: int) -> List[int]:
        """The frames of a clip."""
        taken = self._due(times, start)
        if len(taken) == self.clip_len:
            return taken
        if self.out_of_bound_opt == 'repeat_last':
            return taken + taken[-1:] * (self.clip_len - len(taken))
        return self._due(times, start, loop=True)

    def _due(self, times: np.ndarray, start: int,
             loop: bool = False) -> List[int]:
        """The first frames that are due from a frame on."""
        clock = FrameClock(1 / self.frame_seconds)
        length = times[-1] - times[0] + (_mean_gap(times) or clock.period)
        total, taken = len(times), []
        for frame in count(start) if loop else range(start, total):
            rounds, index = divmod(frame, total)
            seconds = times[index] + rounds * length - times[start]
            if not clock.is_due(seconds):
                continue
            taken.append(index)
            if len(taken) == self.clip_len:
                break
        return taken

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(clip_len={self.clip_len}, '
                f'frame_seconds={self.frame_seconds}, '
                f'num_clips={self.num_clips}, '
                f'out_of_bound_opt={self.out_of_bound_opt!r}, '
                f'test_mode={self.test_mode}, fps={self.fps})')


def _mean_gap(times: np.ndarray) -> float:
    """Mean time between two frames; zero where there is one alone."""
    return (times[-1] - times[0]) / max(1, len(times) - 1)
