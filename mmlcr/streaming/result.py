# Copyright (c) The mmlcr authors. All rights reserved.
"""The result of a stream for a frame."""
from typing import NamedTuple, Optional, Tuple

import numpy as np

from mmlcr.visualization.maps import Maps


class StreamResult(NamedTuple):
    """Scores after a frame."""
    frame: int  # number of the frame in the source, from zero
    seconds: Optional[float]  # time from the start of the source
    labels: Tuple[str, ...]  # the topk classes, highest score first
    scores: Tuple[float, ...]  # their scores
    is_full: bool  # whether the window has enough frames for its context
    all_scores: np.ndarray  # (classes, ), as the model has them in testing
    dropped: int = 0  # due frames of a live source that were dropped so far
    delay: Optional[float] = None  # seconds since a live frame arrived
    image: Optional[np.ndarray] = None  # the frame, RGB
    maps: Optional[Maps] = None  # with the recognizer's maps=True
