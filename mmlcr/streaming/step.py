# Copyright (c) The mmlcr authors. All rights reserved.
"""One step of a stream in PyTorch."""
from typing import Optional, Tuple

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmlcr.deploy.onnx_step import view_scores
from mmlcr.layers import LayerState
from mmlcr.models.lcr_data_preprocessor import LCRDataPreprocessor
from mmlcr.models.state import LCRState
from mmlcr.visualization import grad_cam, retention


class TorchStep:
    """Runs a model frame by frame, like :class:`mmlcr.deploy.OnnxStep`.

    Args:
        model (BaseModel): A recognizer with LCR.
    """

    def __init__(self, model: BaseModel) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self,
                 frames: Tensor,
                 state: Optional[LCRState],
                 out: Optional[LayerState] = None
                 ) -> Tuple[Tensor, LCRState]:
        """Process one frame of each stream.

        Args:
            frames (Tensor): Shape ``(B, 4, 1, height, width)``.
            state (LCRState, optional): State of ``m`` windows before the
                frame; None for a new stream.
            out (LayerState, optional): Buffers for the new layer states.

        Returns:
            tuple[Tensor, LCRState]: Scores ``(m * B, classes)`` and the new
            state.
        """
        feature, state = self.feature(frames, state, out)
        return view_scores(self.model.cls_head, feature).cpu(), state

    @torch.no_grad()
    def feature(self,
                frames: Tensor,
                state: Optional[LCRState],
                out: Optional[LayerState] = None
                ) -> Tuple[Tensor, LCRState]:
        """Like :meth:`__call__`, with the feature ``(m * B, C)``."""
        return self.model.backbone.forward_frames(
            self._clip(frames), state, out=out)

    def retention(self, frames: Tensor,
                  state: Optional[LCRState]) -> np.ndarray:
        """Mean forget gate of each patch, ``(num_layers, B, rows, cols)``."""
        clip = self._clip(frames)
        return retention(self.model.backbone, clip[:, :, 0],
                         state).cpu().numpy()

    def grad_cam(self, frames: Tensor, target: int,
                 layer: Optional[int] = None) -> np.ndarray:
        """Like :func:`mmlcr.visualization.grad_cam`; takes uint8, too."""
        return grad_cam(self.model, self._clip(frames), target,
                        layer).cpu().numpy()

    def _clip(self, frames: Tensor) -> Tensor:
        preprocessor = self.model.data_preprocessor
        if isinstance(preprocessor, LCRDataPreprocessor):  # keeps uint8
            return frames.to(preprocessor.device)
        return preprocessor(
            dict(inputs=list(frames[:, None]), data_samples=None),
            training=False)['inputs'].flatten(0, 1)
