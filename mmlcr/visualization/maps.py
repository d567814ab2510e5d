# Copyright (c) The mmlcr authors. All rights reserved.
"""What the model sees of a frame, and what it forgets at it, as pictures."""
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

NARROWEST_RANGE = 0.05  # of kept shares, from the hottest colour to none
OPACITY = 0.75  # of the hottest colour


class Maps(NamedTuple):
    """Of a frame as the model reads it; of several crops, the last."""
    picture: np.ndarray  # RGB, uint8, (height, width, 3)
    edges: np.ndarray  # the edge map, uint8, (height, width)
    # of each patch, (num_layers, rows, cols); None where the model is an ONNX
    # graph, which does not tell:
    kept: Optional[np.ndarray] = None  # share of its memory that is kept
    hidden: Optional[np.ndarray] = None  # |h| after the frame
    cell: Optional[np.ndarray] = None  # |c| likewise


class RetentionRange:
    """The range of what a stream kept so far, for colours that stay."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def see(self, kept: np.ndarray) -> Tuple[float, float]:
        """The range with one more map, ``(rows, cols)``."""
        self.high = max(self.high, float(kept.max()))
        self.low = min(self.low, float(kept.min()),
                       self.high - NARROWEST_RANGE)
        return self.low, self.high


def draw_heat(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A grey picture, each patch in colours the brighter the hotter it is.

    Args:
        picture (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.
        heat (np.ndarray): Shape ``(rows, cols)``; zero and below are grey,
            one and above have the hottest colour.

    Returns:
        np.ndarray: RGB, of the shape of ``picture``.
    """
    height, width = picture.shape[:2]
    heat = cv2.resize(
        np.clip(heat, 0, 1), (width, height), interpolation=cv2.INTER_NEAREST)
    colours = cv2.applyColorMap(
        np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    opacity = OPACITY * heat[..., None]
    drawn = opacity * colours[..., ::-1] + (1 - opacity) * grey
    return drawn.astype(np.uint8)


def draw_retention(picture: np.ndarray, kept: np.ndarray, low: float,
              high: float) -> np.ndarray:
    """Where memory is forgotten: the hotter the less is kept.

    Args:
        picture (np.ndarray): As of :func:`draw_heat`.
        kept (np.ndarray): Shape ``(rows, cols)``.
        low (float): Drawn in the hottest colour, as all below.
        high (float): Drawn in none, as all above.
    """
    return draw_heat(picture, (high - kept) / (high - low))


def beside(image: np.ndarray, maps: Optional[Maps],
           seen: RetentionRange) -> np.ndarray:
    """A frame, RGB, with its edge map and forget gate on its right."""
    if maps is None:
        return image
    height = image.shape[0]
    return np.hstack([image] + [
        cv2.resize(
            drawn, (round(drawn.shape[1] * height / drawn.shape[0]), height),
            interpolation=cv2.INTER_NEAREST)
        for drawn in draw_maps(maps, seen)[1:]
    ])


def draw_maps(maps: Maps, seen: RetentionRange) -> List[np.ndarray]:
    """Picture, edge map and, if known, mean of the layers' forget gates.

    Args:
        maps (Maps): Of a frame.
        seen (RetentionRange): Of the stream; sees this frame, too.

    Returns:
        list[np.ndarray]: RGB, uint8, each ``(height, width, 3)``.
    """
    pictures = [maps.picture, cv2.cvtColor(maps.edges, cv2.COLOR_GRAY2RGB)]
    if maps.kept is not None:
        kept = maps.kept.mean(0)
        pictures.append(draw_retention(maps.picture, kept, *seen.see(kept)))
    return pictures
