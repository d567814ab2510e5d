# Copyright (c) The mmlcr authors. All rights reserved.
"""Edge maps of frames, the prompt of LCR."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmaction.registry import TRANSFORMS


def edge_map(frame: np.ndarray, channel_order: str = 'rgb') -> np.ndarray:
    """Detect Canny edges, with thresholds by Otsu's method.

    The upper threshold of the hysteresis is Otsu's threshold of the grey
    image, the lower one is half of it.

    Args:
        frame (np.ndarray): uint8, shape ``(height, width, 3)``.
        channel_order (str): ``'rgb'`` or ``'bgr'``. Defaults to ``'rgb'``.

    Returns:
        np.ndarray: 255 on an edge and 0 elsewhere, uint8, shape
        ``(height, width)``.
    """
    code = cv2.COLOR_RGB2GRAY if channel_order == 'rgb' else cv2.COLOR_BGR2GRAY
    grey = cv2.cvtColor(np.ascontiguousarray(frame), code)
    high, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return cv2.Canny(grey, high / 2, high)


@TRANSFORMS.register_module()
class EdgeMap(BaseTransform):
    """Add every frame's edge map as its fourth channel.

    Place it after cropping and flipping, and after transforms that change
    colours.

    Required Keys:

    - imgs: frames, uint8, each ``(height, width, 3)``

    Modified Keys:

    - imgs: each ``(height, width, 4)``

    Args:
        channel_order (str): Channel order of the frames, ``'rgb'`` (as from
            MMAction2's decoders) or ``'bgr'``. The channels are not reordered.
            Defaults to ``'rgb'``.

    Raises:
        ValueError: If the channel order is another one, or a frame is not
            uint8 with three channels.
    """

    def __init__(self, channel_order: str = 'rgb') -> None:
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError("channel_order must be 'rgb' or 'bgr', got "
                             f'{channel_order!r}')
        self.channel_order = channel_order

    def transform(self, results: dict) -> dict:
        """Add the edge maps.

        Args:
            results (dict): Results with ``imgs``.

        Returns:
            dict: The same results, with four channels in ``imgs``.
        """
        results['imgs'] = [
            self._with_edges(frame, index)
            for index, frame in enumerate(results['imgs'])
        ]
        return results

    def _with_edges(self, frame: np.ndarray, index: int) -> np.ndarray:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(
                'EdgeMap needs uint8 frames of shape (height, width, 3), got '
                f'{frame.dtype} of shape {frame.shape} as frame {index}')
        edges = edge_map(frame, self.channel_order)
        return np.concatenate([frame, edges[..., None]], axis=2)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(channel_order={self.channel_order!r})'
