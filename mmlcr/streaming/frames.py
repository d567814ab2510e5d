# Copyright (c) The mmlcr authors. All rights reserved.
"""A frame of a source, and the rate of frames."""
import warnings
from statistics import median
from typing import List, NamedTuple, Optional

import numpy as np

from mmlcr.video import FrameClock

RATE_FRAMES = 8  # frames that show how many a second a source has
SLOWER = 1.25  # times the wanted distance of frames, and a source is slow


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
