# Copyright (c) The mmlcr authors. All rights reserved.
"""Selection of frames at a fixed rate, for sampled clips and streams."""


class FrameClock:
    """Selects frames at a fixed rate from frames at any other.

    It selects the frame nearest to each multiple of ``1 / fps``, and every
    frame once if the source is slower.

    Args:
        fps (float): Frames per second to select.
    """

    def __init__(self, fps: float) -> None:
        self.period = 1 / fps
        self.next_due = self.previous = 0.

    def is_due(self, seconds: float, is_first: bool = False) -> bool:
        """Whether to select a frame; call it once for each frame, in order.

        Args:
            seconds (float): Time of the frame.
            is_first (bool): Whether times restart at this frame. Defaults to
                False.
        """
        gap = seconds - self.previous
        self.previous = seconds
        late = seconds - self.next_due
        if late < -gap / 2:  # the next frame is nearer
            return False
        if late > self.period or is_first:  # after a pause
            self.next_due = seconds
        self.next_due += self.period
        return True
