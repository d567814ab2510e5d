# Copyright (c) The mmlcr authors. All rights reserved.
"""The forget gate as a map over the patches."""
from typing import Optional

import torch
from torch import Tensor

from mmlcr.models.checks import check_clip
from mmlcr.models.lcr import LCR
from mmlcr.models.state import LCRState


@torch.no_grad()
def retention(model: LCR,
              frame: Tensor,
              state: Optional[LCRState] = None) -> Tensor:
    """Compute the forget gate of each patch at a frame.

    It is the factor of ``c_{t-1}`` in eq. (9), averaged over the channels,
    and depends only on the frame's edge prompt.

    Args:
        model (LCR): The backbone.
        frame (Tensor): Frame, see :meth:`mmlcr.models.LCR.forward_step`.
        state (LCRState, optional): State before the frame. Defaults to None:
            it is the first frame.

    Returns:
        Tensor: Shape ``(num_layers, B, rows, cols)``. One retains the cell
        state, zero erases it; the paper's cell may exceed one.
    """
    clip = frame[:, :, None]
    check_clip(model, clip)
    layout = model.layout(clip)
    e = model.embed(
        model.normalized(clip), layout, state.frame if state else None).e[0]
    shares = []
    for layer in model.layers:
        gate = layer.cell.activate(layer.forget(e))
        shares.append(layer.cell.retention(gate)[..., :-1, :].mean(-1))
    return torch.stack(shares).unflatten(-1, (layout.rows, layout.cols))
