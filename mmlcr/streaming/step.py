# Copyright (c) The mmlcr authors. All rights reserved.
"""A step of a stream by PyTorch."""
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
    """Runs a step of a model, as :class:`mmlcr.deploy.onnx_step.OnnxStep`.

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
        """Scores and state after frames ``(B, 4, 1, height, width)``.

        Of a state of ``m`` memories, scores are ``(m * B, classes)``. The new
        state's layers may be at ``out``.
        """
        feature, state = self.feature(frames, state, out)
        return view_scores(self.model.cls_head, feature).cpu(), state

    @torch.no_grad()
    def feature(self,
                frames: Tensor,
                state: Optional[LCRState],
                out: Optional[LayerState] = None
                ) -> Tuple[Tensor, LCRState]:
        """What the head reads, ``(m * B, C)``; all else as when called."""
        return self.model.backbone.forward_frames(
            self._clip(frames), state, out=out)

    def retention(self, frames: Tensor,
                    state: Optional[LCRState]) -> np.ndarray:
        """What each patch keeps, ``(num_layers, B, rows, cols)``."""
        clip = self._clip(frames)
        return retention(self.model.backbone, clip[:, :, 0],
                         state).cpu().numpy()

    def grad_cam(self, frames: Tensor, target: int,
                 layer: Optional[int] = None) -> np.ndarray:
        """As :func:`mmlcr.visualization.grad_cam`, also of bytes."""
        return grad_cam(self.model, self._clip(frames), target,
                        layer).cpu().numpy()

    def _clip(self, frames: Tensor) -> Tensor:
        preprocessor = self.model.data_preprocessor
        if isinstance(preprocessor, LCRDataPreprocessor):  # bytes stay so
            return frames.to(preprocessor.device)
        return preprocessor(
            dict(inputs=list(frames[:, None]), data_samples=None),
            training=False)['inputs'].flatten(0, 1)
