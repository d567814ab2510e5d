# Copyright (c) The mmlcr authors. All rights reserved.
"""Validation of the clips and states that a model is called with."""
from typing import Any, Optional

import torch
from torch import Tensor

from mmlcr.ops import TokenLayout
from .half import HALF
from .state import LCRState


def check_clip(model: Any, clip: Tensor) -> None:
    """Check that a clip fits the model.

    Raises:
        TypeError: If a model was built in half precision.
        ValueError: If channels, size or number of frames do not fit.
    """
    if model.cls_token.dtype in HALF:
        raise TypeError(
            f'the model was built in {model.cls_token.dtype}, which is not '
            'precise enough for tokens and decays: build it in float32, then '
            'call model.half(), or use autocast (--amp in training, '
            'test_cfg.fp16=True in testing, torch.autocast in your code)')
    channels = (4, ) if model.edge_stem is not None else (3, 4)
    if clip.ndim != 5 or clip.shape[1] not in channels:
        raise ValueError(
            'LCR reads clips of shape (B, 4, T, height, width), RGB and '
            f'the edge map that EdgeMap adds, got {tuple(clip.shape)}; '
            'to_rgb=True of the data preprocessor drops the edge map')
    if clip.dtype == torch.uint8 and model.normalize is None:
        raise ValueError(
            'the clip is uint8, but there is no mean and std to normalize it: '
            'LCRRecognizer with LCRDataPreprocessor sets them')
    if not clip.shape[2]:
        raise ValueError(f'the clip has no frames: {tuple(clip.shape)}')
    height, width = clip.shape[3:]
    if height % model.patch_size or width % model.patch_size:
        raise ValueError(f'the patch size {model.patch_size} does not '
                         f'divide frames of {height}x{width}')



def check_state(model: Any, clip: Tensor, state: Optional[LCRState],
                layout: TokenLayout) -> None:
    """Check that a state fits a model and a clip.

    Raises:
        ValueError: If it does not fit; names the part.
    """
    if state is None:
        return
    frame_shape = (state.windows * len(clip), layout.num_tokens,
                   model.embed_dims)
    layers_shape = (len(model.layers), *frame_shape)
    shift, frame = model.temporal_shift, model.stem_input != 'frame'
    for name, tensor, expected in (
        ('h (layers, B, L, D)', state.layers.h, layers_shape),
        ('c (layers, B, L, D)', state.layers.c, layers_shape),
        ('x (layers, B, L, D)', state.layers.x, shift and layers_shape),
        ('prompt (B, L, D)', state.prompt, shift and frame_shape),
        ('frame', state.frame, frame and (*clip.shape[:2],
                                          *clip.shape[3:]))):
        found = tensor is not None and tuple(tensor.shape)
        if found != expected:
            raise ValueError(
                'the state is of another model, batch or frame size: its '
                f'{name} is {found or None}, not {expected or None}')
