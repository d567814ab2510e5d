# Copyright (c) The mmlcr authors. All rights reserved.
"""Grad-CAM (Selvaraju et al., arXiv 1610.02391) of LCR.

MMAction2's own wants a module that gives maps ``(B, C, T, height, width)``.
LCR has none: a layer reads one frame at a time.
"""
from typing import Optional

import torch
from mmengine.model import BaseModel
from torch import Tensor

from .split import split_at_layer


@torch.enable_grad()
def grad_cam(model: BaseModel,
             clip: Tensor,
             target: int,
             layer: Optional[int] = None) -> Tensor:
    """Where a clip speaks for a class.

    All that a layer and those above know of a clip is what it reads of each
    frame, ``x``, and the edge prompt ``e``. With the gradient of the class
    score, before softmax, by the channels of both, its mean over frames and
    patches being ``alpha``, the map is ``relu(alpha_x x + alpha_e e)``.

    Args:
        model (BaseModel): A recognizer with LCR, in evaluation mode.
        clip (Tensor): As of :meth:`mmlcr.models.LCR.forward`.
        target (int): The class.
        layer (int, optional): From zero. Defaults to None: the last one.

    Returns:
        Tensor: Of each frame, shape ``(T, B, rows, cols)``.

    Raises:
        ValueError: If there is no such layer, or the clip does not fit.
    """
    backbone = model.backbone
    if layer is None:
        layer = len(backbone.layers) - 1
    with torch.no_grad():
        x, e, feature = split_at_layer(backbone, clip, layer)
    tokens = [t.requires_grad_() for t in (x, e)]
    score = model.cls_head(feature(*tokens))[:, target].sum()
    gradients = torch.autograd.grad(score, tokens)
    both = torch.cat([t.detach() for t in tokens], -1)[..., :-1, :]
    alpha = torch.cat(gradients, -1)[..., :-1, :].mean((0, 2), keepdim=True)
    rows = clip.shape[-2] // backbone.patch_size
    return torch.relu((alpha * both).sum(-1)).unflatten(-1, (rows, -1))
