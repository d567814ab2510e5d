# Copyright (c) The mmlcr authors. All rights reserved.
"""Decoded frames as RGB images."""
from fractions import Fraction
from typing import Any, Tuple

import av
import numpy as np


def to_rgb(frame: Any, size: Tuple[int, int], time_base: Fraction
           ) -> np.ndarray:
    """Convert a decoded frame to RGB, with the rotation of its metadata.

    Args:
        frame (av.VideoFrame): The frame.
        size (tuple[int, int]): Width and height before the rotation. A frame
            of another size is resized.
        time_base (Fraction): Time base of the frame's stream.

    Returns:
        np.ndarray: RGB, uint8, ``(height, width, 3)``.
    """
    quarter_turns = round(frame.rotation / 90) % 4
    if frame.interlaced_frame:
        frame = _as_progressive(frame, time_base)
    if (frame.width, frame.height) != size:
        frame = frame.reformat(*size, format='rgb24')
    image = frame.to_ndarray(format='rgb24')
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def _as_progressive(frame: Any, time_base: Fraction) -> Any:
    """Mark an interlaced frame as progressive.

    Otherwise the conversion to RGB would treat its two fields separately.
    """
    graph = av.filter.Graph()
    nodes = (graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=time_base), graph.add('setfield', 'prog'),
             graph.add('buffersink'))
    for node, after in zip(nodes, nodes[1:]):
        node.link_to(after)
    graph.configure()
    graph.push(frame)
    return graph.pull()
