# Copyright (c) The mmlcr authors. All rights reserved.
"""Rotary position embedding in two dimensions, by patch row and column."""
import functools
from typing import Any, Optional

import torch
from torch import Tensor

from .layout import TokenLayout

BASE = 100.  # wavelengths are between 2 pi and up to 600 patches


def rotary_table(layout: TokenLayout, head_width: int, device: torch.device,
                 dtype: torch.dtype) -> Tensor:
    """Compute the rotation of every token's channel pairs.

    Channels ``2 j`` and ``2 j + 1`` are a pair. The first half of a head's
    pairs is rotated by the row, the other half by the column (RoFormer, arXiv
    2104.09864, along each axis). The CLS token is not rotated.

    Args:
        layout (TokenLayout): Positions of the tokens.
        head_width (int): ``K``, a multiple of 4.
        device (torch.device): Device of the table.
        dtype (torch.dtype): Dtype of the table.

    Returns:
        Tensor: Cosine and sine, shape ``(B or 1, L, 1, K / 2, 2)``.
    """
    if layout.keep_ids is None:
        return _grid_table(layout, head_width, device, dtype)
    return _table(layout, head_width, device, dtype)


@functools.lru_cache(maxsize=64)
def _grid_table(*args: Any) -> Tensor:
    with torch.inference_mode(False):  # training uses the cache, too
        return _table(*args)


def _table(layout: TokenLayout, head_width: int, device: torch.device,
           dtype: torch.dtype) -> Tensor:
    quarter = head_width // 4
    exponent = torch.arange(quarter, dtype=dtype, device=device) / quarter
    position = layout.position(device).to(dtype)  # (B, P, 2)
    angle = (position[..., None] * BASE**-exponent).flatten(-2)
    angle = torch.nn.functional.pad(angle, (0, 0, 0, 1))  # CLS: no angle
    return torch.stack([angle.cos(), angle.sin()], dim=-1)[:, :, None]


def rotate(x: Tensor, table: Optional[Tensor]) -> Tensor:
    """Rotate receptance or key.

    Args:
        x (Tensor): Shape ``(..., B, L, H, K)``.
        table (Tensor, optional): Result of :func:`rotary_table`; None returns
            ``x`` unchanged.

    Returns:
        Tensor: Shape of ``x``, in the wider dtype of both.
    """
    if table is None:
        return x
    x = x.to(torch.promote_types(x.dtype, table.dtype))
    pairs = x.unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # the compiler has no complex numbers
        (a, b), (cos, sin) = pairs.unbind(-1), table.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    else:
        turned = torch.view_as_real(
            torch.view_as_complex(pairs) * torch.view_as_complex(table))
    return turned.flatten(-2)
