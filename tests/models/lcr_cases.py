# Copyright (c) The mmlcr authors. All rights reserved.
"""Options, tolerances and inputs that the tests of LCR share."""
from typing import Any, Callable, Dict, List, Optional

import torch
from reference import reference_feature
from torch import Tensor

from mmlcr.models import LCR

# what this project promises of float32, in norm
FLOAT32_TOLERANCE = 1e-5
# float64 rounding, amplified by layers and frames
FLOAT64_TOLERANCE = 1e-11
# float32 rounding where only the batch size or the path differs
SAME_FLOAT32_TOLERANCE = 2e-6
# bfloat16 keeps eight bits, and two layers and four frames amplify that
AUTOCAST_TOLERANCE = 0.1
# outputs that differ by less count as equal
DIFFERENT = 1e-2
# what each option says is changed from these
TINY = dict(
    embed_dims=16,
    num_heads=2,
    num_layers=2,
    patch_size=4,
    hidden_rate=2.5,
    cell='paper',
    readout='cls')
PAPER = dict(temporal_shift=False, hidden_rate=4)
RESIDUAL = dict(type='CrossRWKVLayer', residual=True)
VRWKV6 = dict(type='VRWKV6Layer')
POST_NORM = dict(type='VRWKV6Layer', post_norm=True, layer_scale=0.1)
OPTIONS: Dict[str, dict] = {
    'default': {},
    'conv': dict(stem='conv'),
    'paper': PAPER,
    'defaults': dict(hidden_rate=2, cell='coupled', readout='mean'),
    'clip': dict(cell_clip=2.),
    'coupled': dict(cell='coupled'),
    'residual': dict(layer=RESIDUAL),
    'coupled-residual': dict(cell='coupled', layer=RESIDUAL),
    'no-rotary': dict(rotary=False),
    'no-edges': dict(edge_prompt=False),
    'position': dict(position_grid=(5, 4)),
    'resized-position': dict(position_grid=(3, 3)),
    'mean': dict(readout='mean'),
    'attention': dict(readout='attention'),
    'mean-conv-coupled': dict(readout='mean', stem='conv', cell='coupled'),
    'both': dict(stem_input='both'),
    'difference': dict(stem_input='difference'),
    'difference-conv-mean':
    dict(stem_input='both', stem='conv', readout='mean'),
    'difference-no-edges': dict(stem_input='difference', edge_prompt=False),
    'no-shift-conv-residual':
    dict(temporal_shift=False, stem='conv', layer=RESIDUAL),
    'vrwkv6':
    dict(layer=VRWKV6, rotary=False, cell='coupled', readout='mean'),
    'vrwkv6-post-norm':
    dict(
        layer=POST_NORM,
        position_grid=(5, 4),
        readout='mean'),
    'vrwkv6-no-shift':
    dict(layer=VRWKV6, temporal_shift=False, readout='attention'),
}


def is_vrwkv6(name: str) -> bool:
    """Whether options have Vision-RWKV's layers."""
    return OPTIONS[name].get('layer', {}).get('type') == 'VRWKV6Layer'


def build(redraw: Callable, dtype: torch.dtype = torch.float32,
          **options: Any) -> LCR:
    """Build a tiny model whose weights are all random."""
    return redraw(LCR(**{**TINY, **options})).to(dtype).eval()


def draw_clip(B: int = 2,
              T: int = 4,
              height: int = 20,
              width: int = 16,
              dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw a clip: noise for RGB, a sparse binary map for the edges."""
    clip = torch.randn(B, 4, T, height, width, dtype=torch.float64)
    clip[:, 3] = (clip[:, 3] > 1).double()
    return clip.to(dtype)


def draw_mask(B: int, rows: int, cols: int, dropped: int) -> Tensor:
    mask = torch.zeros(B, rows * cols, dtype=torch.bool)
    for sample in mask:
        sample[torch.randperm(rows * cols)[:dropped]] = True
    return mask.view(B, rows, cols)


def expected_feature(model: LCR,
                     options: dict,
                     clip: Tensor,
                     tube_mask: Optional[Tensor] = None) -> Tensor:
    """The feature of a clip ``(4, T, height, width)`` by the reference.

    The options are those that the model was built with.
    """
    return reference_feature(model.state_dict(), {**TINY, **options}, clip,
                             tube_mask)


def stream(model: LCR, clip: Tensor) -> List[Tensor]:
    """Compute the features after every frame, step by step."""
    features, state = [], None
    for frame in clip.unbind(2):
        feature, state = model.forward_step(frame, state)
        features.append(feature)
    return features
