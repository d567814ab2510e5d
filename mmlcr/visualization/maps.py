# Copyright (c) The mmlcr authors. All rights reserved.
"""Pictures of a frame: model input, edge map and forget gate."""
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

NARROWEST_RANGE = 0.05  # of retention, from the hottest colour to grey
OPACITY = 0.75  # of the hottest colour


class Maps(NamedTuple):
    """Model input and states at a frame; with several crops, of the last.

    ``retention``, ``hidden`` and ``cell`` have the shape ``(num_layers, rows,
    cols)``. They are None for an ONNX graph, which does not output them.
    """
    picture: np.ndarray  # RGB, uint8, (height, width, 3)
    edges: np.ndarray  # the edge map, uint8, (height, width)
    retention: Optional[np.ndarray] = None  # forget gate, channel mean
    hidden: Optional[np.ndarray] = None  # norm of h after the frame
    cell: Optional[np.ndarray] = None  # norm of c after the frame


class RetentionRange:
    """Running range of a stream's retention, for a stable colour scale."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def update(self, retention: np.ndarray) -> Tuple[float, float]:
        """Extend the range by a map ``(rows, cols)``; return (low, high)."""
        self.high = max(self.high, float(retention.max()))
        self.low = min(self.low, float(retention.min()),
                       self.high - NARROWEST_RANGE)
        return self.low, self.high


def draw_heat(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Overlay a heat map on the grey version of a picture.

    Args:
        picture (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.
        heat (np.ndarray): Heat of each patch, shape ``(rows, cols)``, clipped
            to 0 (grey) to 1 (the hottest colour).

    Returns:
        np.ndarray: RGB, uint8, of the shape of ``picture``.
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


def draw_retention(picture: np.ndarray, retention: np.ndarray, low: float,
                   high: float) -> np.ndarray:
    """Overlay the forget gate: the hotter a patch, the less it retains.

    Args:
        picture (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.
        retention (np.ndarray): Shape ``(rows, cols)``.
        low (float): Retention of the hottest colour.
        high (float): Retention that stays grey.
    """
    return draw_heat(picture, (high - retention) / (high - low))


def append_maps(image: np.ndarray, maps: Optional[Maps],
                retention_range: RetentionRange) -> np.ndarray:
    """Put the edge map and the forget gate on the right of an RGB frame."""
    if maps is None:
        return image
    height = image.shape[0]
    return np.hstack([image] + [
        cv2.resize(
            drawn, (round(drawn.shape[1] * height / drawn.shape[0]), height),
            interpolation=cv2.INTER_NEAREST)
        for drawn in draw_maps(maps, retention_range)[1:]
    ])


def draw_maps(maps: Maps,
              retention_range: RetentionRange) -> List[np.ndarray]:
    """Draw picture, edge map and, if known, the layers' mean forget gate.

    Args:
        maps (Maps): Maps of a frame.
        retention_range (RetentionRange): Colour scale of the stream; it is
            extended by this frame.

    Returns:
        list[np.ndarray]: RGB, uint8, each ``(height, width, 3)``.
    """
    pictures = [maps.picture, cv2.cvtColor(maps.edges, cv2.COLOR_GRAY2RGB)]
    if maps.retention is not None:
        mean = maps.retention.mean(0)
        pictures.append(
            draw_retention(maps.picture, mean, *retention_range.update(mean)))
    return pictures
