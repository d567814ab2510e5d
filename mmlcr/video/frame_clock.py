# Copyright (c) The mmlcr authors. All rights reserved.
"""Which frames are due: one rule for sampled clips and for streams."""


class FrameClock:
    """Frames at a rate, out of frames at any other.

    Due is the frame that is nearest to each wanted time; of a source that is
    slower, each frame once.

    Args:
        fps (float): Frames a second that are wanted.
    """

    def __init__(self, fps: float) -> None:
        self.period = 1 / fps
        self.next_due = self.previous = 0.

    def is_due(self, seconds: float, is_first: bool = False) -> bool:
        """Whether to take a frame; to be asked once of each, in order.

        Args:
            seconds (float): Time of the frame.
            is_first (bool): Whether times are counted anew from this frame.
                Defaults to False.
        """
        gap = seconds - self.previous
        self.previous = seconds
        late = seconds - self.next_due
        if late < -gap / 2:  # the next one is nearer
            return False
        if late > self.period or is_first:  # after a pause
            self.next_due = seconds
        self.next_due += self.period
        return True
