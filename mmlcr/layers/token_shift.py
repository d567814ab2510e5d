# Copyright (c) The mmlcr authors. All rights reserved.
"""Token shift, eq. (3): neighbours in the frame and the frame before."""
import functools
from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layout import TokenLayout


class TokenShift:
    """Q-shift of Vision-RWKV, part of eq. (3), for one layout.

    Of every head's channels, the first quarter comes from the left
    neighbour, then right, upper and lower. Outside the frame, and where the
    neighbour was dropped, it is zero. The CLS token is its own neighbour.

    Args:
        layout (TokenLayout): Where the tokens sit.
        num_heads (int): Heads ``H``.
        device (torch.device): Of the tokens.
    """

    def __init__(self, layout: TokenLayout, num_heads: int,
                 device: torch.device) -> None:
        self.num_heads = num_heads
        kept = layout.kept
        if kept is None:
            kept = torch.arange(layout.rows * layout.cols, device=device)[None]
        self.pieces = _pieces(layout.rows, layout.cols, kept, num_heads)
        self._ready: Dict[Tuple[int, torch.dtype], Tuple[Tensor, ...]] = {}

    @classmethod
    def of(cls, layout: TokenLayout, num_heads: int,
           device: torch.device) -> 'TokenShift':
        """As the constructor, kept for whole grids."""
        if layout.kept is not None:
            return cls(layout, num_heads, device)
        return _grid_shift(layout, num_heads, device)

    def __call__(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        return _Gather.apply(x, *self._of_frames(x))

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Each token with its neighbours: ``x~`` of eq. (3).

        Args:
            x (Tensor): Of ``n`` layers, shape ``(n, B, L, D)``.
            mu (Tensor): Share of the neighbours, shape ``(n, D)``.
        """
        return torch.lerp(x, self(x), mu[:, None, None].to(x.dtype))

    def _of_frames(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The pieces of as many frames as ``x`` holds."""
        key = x.shape[:-2].numel(), x.dtype
        if key not in self._ready:
            with torch.inference_mode(False):  # kept for training, too
                self._ready[key] = self._repeat(x)
        return self._ready[key]

    def _repeat(self, x: Tensor) -> Tuple[Tensor, ...]:
        source = self.pieces[0]  # (B or 1, L, H, 4)
        frames = x.shape[:-2].numel() // len(source)
        first = torch.arange(frames, device=x.device) * source.numel()
        width = x.shape[-1] // (4 * self.num_heads)
        ready = []
        for index, found in zip(self.pieces[::2], self.pieces[1::2]):
            ready.append((first[:, None] + index.flatten()).flatten())
            found = found.to(x.dtype).repeat_interleave(width, -1)
            ready.append(found.flatten(-2))  # (B or 1, L, D)
        return tuple(ready)


class _Gather(torch.autograd.Function):
    """Take pieces of ``K / 4`` channels from elsewhere, or zeros.

    Args:
        x (Tensor): Shape ``(..., L, D)``.
        source (Tensor): For each piece, the index of the piece it becomes.
        found (Tensor): One where there is one, else zero, broadcast to ``x``.
        reader (Tensor): For each piece, the index of the one that took it.
        read (Tensor): One where there is one, else zero.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, found: Tensor,
                reader: Tensor, read: Tensor) -> Tensor:
        ctx.back = reader, read
        return _gather(x, source, found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        return _gather(grad, *ctx.back), None, None, None, None


def _gather(x: Tensor, index: Tensor, found: Tensor) -> Tensor:
    pieces = x.reshape(len(index), -1).index_select(0, index)
    return pieces.view(-1, *found.shape).mul_(found).view(x.shape)


@functools.lru_cache(maxsize=64)
def _grid_shift(*args: Any) -> TokenShift:
    with torch.inference_mode(False):  # kept for training, too
        return TokenShift(*args)


def _pieces(rows: int, cols: int, kept: Tensor,
            num_heads: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each quarter comes from and goes to, each ``(B, L, H, 4)``.

    Its source among the quarters of ``(B, L, H, 4)``, whether there is one,
    and the same for the one that takes it. Where there is none, it is itself.
    """
    B, P = kept.shape
    # token at each patch of a grid with a border; -1 where there is none
    token = kept.new_full((B, (rows + 2) * (cols + 2)), -1)
    here = (kept // cols + 1) * (cols + 2) + kept % cols + 1
    own = torch.arange(P, device=kept.device).expand(B, P)
    token.scatter_(1, here, own)
    steps = (-1, 1, -(cols + 2), cols + 2)  # left, right, upper, lower
    pieces = torch.arange(
        B * (P + 1) * num_heads * 4, device=kept.device)
    pieces = pieces.view(B, P + 1, num_heads, 4)
    result = []
    for sign in (1, -1):
        neighbour = torch.stack(
            [token.gather(1, here + sign * step) for step in steps], -1)
        neighbour = F.pad(neighbour, (0, 0, 0, 1), value=P)  # CLS
        found = neighbour >= 0  # (B, L, 4)
        index = neighbour.clamp(min=0)[:, :, None].expand(pieces.shape)
        source = pieces.gather(1, index)
        found = found[:, :, None].expand(pieces.shape)
        result += [torch.where(found, source, pieces), found]
    return tuple(result)
