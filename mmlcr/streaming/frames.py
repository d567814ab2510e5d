# Copyright (c) The mmlcr authors. All rights reserved.
"""A frame of a source, and the filter that keeps a frame rate."""
import warnings
from statistics import median
from typing import List, NamedTuple, Optional

import numpy as np

from mmlcr.video import FrameClock

RATE_FRAMES = 8  # number of gaps that the frame rate is estimated from
SLOWER = 1.25  # a source is too slow if its gaps are so many periods long


class Frame(NamedTuple):
    """A frame of a source."""
    image: np.ndarray  # RGB, uint8, (height, width, 3)
    number: int  # from zero
    seconds: Optional[float]  # from the start; None if unknown
    is_first: bool = False  # of the source, or after it was reopened
    arrived: Optional[float] = None  # by time.monotonic(), of a live source


class FrameRateFilter:
    """Selects the frames of a source that are due at a frame rate.

    Warns once if the source has a lower frame rate.

    Args:
        fps (float, optional): Frames per second to select. Defaults to None:
            every ``interval``-th frame.
        interval (int): Defaults to 1. Frames without times ignore it.
    """

    def __init__(self, fps: Optional[float] = None, interval: int = 1) -> None:
        self.clock = None if fps is None else FrameClock(fps)
        self.interval = interval
        self._gaps: Optional[List[float]] = []  # None once it was checked

    def is_due(self, frame: Frame) -> bool:
        """Whether a frame is due; call it once per frame, in order."""
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
                f'the source has {1 / gap:.3g} frames per second, and the '
                f'model was trained with {1 / period:.3g}: motion appears '
                'that much faster to it',
                stacklevel=3)
