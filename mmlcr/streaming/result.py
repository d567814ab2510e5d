# Copyright (c) The mmlcr authors. All rights reserved.
"""What a stream gives for a frame."""
from typing import NamedTuple, Optional, Tuple

import numpy as np

from mmlcr.visualization.maps import Maps


class StreamResult(NamedTuple):
    """What is known after a frame."""
    frame: int  # its number in the source, from zero
    seconds: Optional[float]  # its time, from the start of the source
    labels: Tuple[str, ...]  # of the classes with the highest scores
    scores: Tuple[float, ...]  # theirs
    is_full: bool  # as many frames remembered as the context has
    all_scores: np.ndarray  # of every class, as of the model in testing
    dropped: int = 0  # frames of a live source that were due and not taken
    delay: Optional[float] = None  # seconds since a live frame came
    image: Optional[np.ndarray] = None  # the frame, RGB
    maps: Optional[Maps] = None  # if the recognizer was asked for them
