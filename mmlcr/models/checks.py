# Copyright (c) The mmlcr authors. All rights reserved.
"""Checks of clips and states against a model."""
from typing import Any, Optional

import torch
from torch import Tensor

from mmlcr.ops import TokenLayout
from .state import LCRState


def check_clip(model: Any, clip: Tensor) -> None:
    """Check that a clip fits the model.

    Raises:
        TypeError: If a model was built in half precision.
        ValueError: If channels, size or number of frames do not fit.
    """
    if model.cls_token.dtype in (torch.float16, torch.bfloat16):
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
            'a clip of bytes: only LCRRecognizer with LCRDataPreprocessor '
            'gives LCR the mean and std to normalize them')
    if not clip.shape[2]:
        raise ValueError(f'a clip of no frames: {tuple(clip.shape)}')
    height, width = clip.shape[3:]
    if height % model.patch_size or width % model.patch_size:
        raise ValueError(f'the patch size {model.patch_size} does not '
                         f'divide frames of {height}x{width}')



def check_state(model: Any, clip: Tensor, state: Optional[LCRState],
                layout: TokenLayout) -> None:
    """Check that a state fits a model and a clip.

    Raises:
        ValueError: With the part that does not fit.
    """
    if state is None:
        return
    of_frame = (state.windows * len(clip), layout.num_tokens,
                model.embed_dims)
    of_layers = (len(model.layers), *of_frame)
    shift, frame = model.temporal_shift, model.stem_input != 'frame'
    for name, tensor, expected in (
        ('h (layers, B, L, D)', state.layers.h, of_layers),
        ('c (layers, B, L, D)', state.layers.c, of_layers),
        ('x (layers, B, L, D)', state.layers.x, shift and of_layers),
        ('prompt (B, L, D)', state.prompt, shift and of_frame),
        ('frame', state.frame, frame and (*clip.shape[:2],
                                          *clip.shape[3:]))):
        found = tensor is not None and tuple(tensor.shape)
        if found != expected:
            raise ValueError(
                'a state of another model, of other streams or frames: '
                f'its {name} is {found or None}, not {expected or None}')
