# Copyright (c) The mmlcr authors. All rights reserved.
"""Token shift, eq. (3): neighbours in the frame and the frame before."""
import functools
from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmlcr.ops import into
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
        if layout.kept is None:
            self.pieces = _grid_pieces(layout.rows, layout.cols, num_heads,
                                       device)
        else:
            self.pieces = _pieces(layout.rows, layout.cols, layout.kept,
                                  num_heads)
        self._ready: Dict[Tuple[int, torch.dtype], Tuple[Tensor, ...]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        return _Gather.apply(x, *self._of_frames(x))

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Each token with its neighbours: ``x~`` of eq. (3).

        Args:
            x (Tensor): Shape ``(..., B, L, D)``.
            mu (Tensor): Share of the neighbours, shape ``(D,)``.
        """
        return torch.lerp(x, self(x), mu.to(x.dtype))

    def mix_and_difference(self, x: Tensor, before: Optional[Tensor],
                           mu: Tensor) -> Tensor:
        """Both shifts of eq. (3), of all frames.

        Args:
            x (Tensor): Shape ``(T, B, L, D)``.
            before (Tensor, optional): Tokens of the frame before the first,
                shape ``(B, L, D)``; None: the first one again.
            mu (Tensor): Share of the neighbours, shape ``(D,)``.

        Returns:
            Tensor: ``x~`` and, beside it, the difference to the frame
            before, shape ``(T, B, L, 2D)``.
        """
        before = x[0] if before is None else before.to(x.dtype)
        return _MixAndDifference.apply(x, before, mu.to(x.dtype),
                                       *self._of_frames(x))

    def _of_frames(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The pieces of as many frames as ``x`` holds."""
        key = x.shape[:-2].numel(), x.dtype
        if key not in self._ready:
            source, found, reader, read = self.pieces  # (B or 1, L, H, 4)
            frames = key[0] // len(source)
            first = torch.arange(frames, device=x.device)[:, None]
            first = first * source.numel()
            scale = (x.shape[-1] // (4 * self.num_heads), )
            self._ready[key] = (
                (first + source.flatten()).flatten(),
                found.to(x.dtype).repeat_interleave(*scale, -1).flatten(-2),
                (first + reader.flatten()).flatten(),
                read.to(x.dtype).repeat_interleave(*scale, -1).flatten(-2))
        return self._ready[key]


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


class _MixAndDifference(torch.autograd.Function):
    """:meth:`TokenShift.mix_and_difference`, written side by side."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: Tensor, mu: Tensor,
                source: Tensor, found: Tensor, reader: Tensor,
                read: Tensor) -> Tensor:
        ctx.save_for_backward(x, mu)
        ctx.pieces = source, found, reader, read
        out = x.new_empty(*x.shape[:-1], 2 * x.shape[-1])
        mixed, difference = out.chunk(2, dim=-1)
        into(mixed, torch.lerp, x, _gather(x, source, found), mu)
        into(difference[0], torch.sub, x[0], before)
        into(difference[1:], torch.sub, x[1:], x[:-1])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        x, mu = ctx.saved_tensors
        source, found, reader, read = ctx.pieces
        of_mixed, of_difference = grad.chunk(2, dim=-1)
        of_shifted = of_mixed * mu
        grad_mu = of_mixed * (_gather(x, source, found) - x)
        grad_x = _gather(of_shifted, reader, read)
        grad_x += of_mixed - of_shifted + of_difference
        grad_x[:-1] -= of_difference[1:]
        return (grad_x, -of_difference[0], grad_mu.flatten(0, -2).sum(0),
                None, None, None, None)


def _gather(x: Tensor, index: Tensor, found: Tensor) -> Tensor:
    pieces = x.reshape(len(index), -1).index_select(0, index)
    return pieces.view(-1, *found.shape).mul_(found).view(x.shape)


@functools.lru_cache(maxsize=64)
def _grid_pieces(rows: int, cols: int, num_heads: int,
                 device: torch.device) -> Tuple[Tensor, ...]:
    with torch.inference_mode(False):  # the cache serves training, too
        kept = torch.arange(rows * cols, device=device)[None]
        return _pieces(rows, cols, kept, num_heads)


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
