# Copyright (c) The mmlcr authors. All rights reserved.
"""The forget gate of every patch."""
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
    """The share of its memory that each patch keeps at a frame.

    It is the factor of ``c_{t-1}`` in eq. (9), averaged over the channels,
    and depends on the frame's edge prompt alone.

    Args:
        model (LCR): The backbone.
        frame (Tensor): As of :meth:`mmlcr.models.LCR.forward_step`.
        state (LCRState, optional): Before that frame. Defaults to None: it is
            the first.

    Returns:
        Tensor: Shape ``(num_layers, B, rows, cols)``. One keeps all, zero
        forgets all; the paper's cell may exceed one.
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
