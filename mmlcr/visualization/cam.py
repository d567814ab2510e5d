# Copyright (c) The mmlcr authors. All rights reserved.
"""Grad-CAM (Selvaraju et al., arXiv 1610.02391) of LCR.

MMAction2's GradCAM needs a module that returns maps ``(B, C, T, height,
width)``. LCR has none: a layer reads one frame at a time.
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
    """Compute where in a clip the evidence for a class is.

    A layer and those above it depend on the clip only through the layer's
    input ``x`` and the edge prompt ``e``. Let ``alpha`` be the gradient of
    the class score (before softmax) by ``x`` and ``e``, averaged over frames
    and patches. The map is ``relu(alpha_x x + alpha_e e)``.

    Args:
        model (BaseModel): A recognizer with LCR, in evaluation mode.
        clip (Tensor): Clip, see :meth:`mmlcr.models.LCR.forward`.
        target (int): Index of the class.
        layer (int, optional): Index of the layer. Defaults to None: the last
            one.

    Returns:
        Tensor: One map per frame, shape ``(T, B, rows, cols)``.

    Raises:
        ValueError: If there is no such layer, or the clip has a wrong shape.
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
