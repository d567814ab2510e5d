# Copyright (c) The mmlcr authors. All rights reserved.
"""Rotary position in two dimensions, by patch row and column."""
from typing import Optional, Tuple

import torch
from torch import Tensor

from .layout import TokenLayout

BASE = 100.  # the longest wave spans some 600 patches, the shortest six

Rotation = Optional[Tuple[Tensor, Tensor]]


def rotary_tables(layout: TokenLayout, head_width: int, device: torch.device,
                  dtype: torch.dtype) -> Tuple[Tensor, Tensor]:
    """Cosine and sine of every token's angles.

    The first half of a head's channel pairs turns with the row, the other
    half with the column (RoFormer, arXiv 2104.09864, along each axis). The
    CLS token does not turn.

    Args:
        layout (TokenLayout): Where the tokens sit.
        head_width (int): ``K``, a multiple of 4.
        device (torch.device): Where the tables are made.
        dtype (torch.dtype): Their dtype.

    Returns:
        tuple[Tensor, Tensor]: Each ``(B or 1, L, 1, K / 2)``.
    """
    quarter = head_width // 4
    exponent = torch.arange(quarter, dtype=dtype, device=device) / quarter
    position = layout.position(device).to(dtype)  # (B, P, 2)
    angle = (position[..., None] * BASE**-exponent).flatten(-2)
    angle = torch.nn.functional.pad(angle, (0, 0, 0, 1))  # CLS: no angle
    return angle.cos()[:, :, None], angle.sin()[:, :, None]


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn ``x`` of shape ``(..., B, L, H, K)``; None leaves it as it is."""
    if rotation is None:
        return x
    cos, sin = (t.to(x.dtype) for t in rotation)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
