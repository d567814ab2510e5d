# Copyright (c) The mmlcr authors. All rights reserved.
"""The spatial token shift, equation (3)."""
import functools
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmlcr.ops import into
from .layout import TokenLayout


class Neighbours(NamedTuple):
    """Where the pieces of ``K / 4`` channels of some frames come from."""
    source: Tensor  # for each piece, the index of the one it becomes
    found: Tensor  # (B or 1, L, D): one where there is such a piece, else zero
    reader: Tensor  # for each piece, the index of the one that it becomes
    read: Tensor  # (B or 1, L, D): one where there is such a piece, else zero

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Each token with its neighbours: ``x~`` of eq. (3).

        Args:
            x (Tensor): Of ``n`` layers, shape ``(n, B, L, D)``.
            mu (Tensor): Share of the neighbours, shape ``(n, D)``.
        """
        return torch.lerp(x, self.shift(x), mu[:, None, None].to(x.dtype))

    def mix_and_difference(self, x: Tensor, mu: Tensor,
                           before: Tensor) -> Tensor:
        """Both shifts of eq. (3) side by side.

        Args:
            x (Tensor): Of ``n`` layers, shape ``(n, B, L, D)``.
            mu (Tensor): Share of the neighbours, shape ``(n, D)``.
            before (Tensor): Of the frame before, for the first of the layers,
                shape ``(m, B, L, D)``; to the others it is the same frame.

        Returns:
            Tensor: ``x~`` and the difference, shape ``(n, B, L, 2D)``.
        """
        return _MixAndDifference.apply(x, mu.to(x.dtype), before.to(x.dtype),
                                       *self)

    def difference(self, x: Tensor, before: Optional[Tensor]) -> Tensor:
        """To the frame before; arguments as above, None is of no layer."""
        if before is None:
            return torch.zeros_like(x)
        known = len(before)
        return torch.cat([x[:known] - before, torch.zeros_like(x[known:])])

    def shift(self, x: Tensor) -> Tensor:
        """The neighbours of tokens ``(..., B, L, D)``, CLS last."""
        return _Gather.apply(x, *self)


class TokenShift:
    """Q-shift of Vision-RWKV, part of eq. (3), for one layout.

    Of every head's channels, the first quarter comes from the left
    neighbour, then right, upper and lower. Outside the frame, and where the
    neighbour was dropped, it is zero. The CLS token is its own neighbour.

    Args:
        layout (TokenLayout): Where the tokens sit.
        num_heads (int): Heads ``H``.
        head_width (int): Their width ``K``.
        device (torch.device): Of the tokens.
    """

    def __init__(self, layout: TokenLayout, num_heads: int, head_width: int,
                 device: torch.device) -> None:
        kept = layout.kept
        if kept is None:
            kept = torch.arange(layout.rows * layout.cols, device=device)[None]
        source, found, reader, read = _pieces(layout.rows, layout.cols, kept,
                                              num_heads)
        self.samples, L = source.shape[:2]
        # left, right, upper, lower token or -1, (B or 1, L, 4)
        tokens = source[:, :, 0] // (4 * num_heads) % L
        self.tokens = torch.where(found[:, :, 0], tokens, -1)
        self.source, self.reader = source.flatten(), reader.flatten()
        self.found, self.read = (
            t.float().repeat_interleave(head_width // 4, -1).flatten(-2)
            for t in (found, read))
        self._of: Dict[int, Neighbours] = {}

    @classmethod
    def of(cls, layout: TokenLayout, num_heads: int, head_width: int,
           device: torch.device) -> 'TokenShift':
        """As the constructor, kept for whole grids."""
        if layout.kept is not None:
            return cls(layout, num_heads, head_width, device)
        return _grid_shift(layout, num_heads, head_width, device)

    def neighbours(self, frames: int) -> Neighbours:
        """Those of as many frames; of a layout with masks, one each in turn.

        Args:
            frames (int): Product of all dimensions of the tokens but the last
                two.
        """
        if frames not in self._of:
            with torch.inference_mode(False):  # kept for training, too
                first = torch.arange(
                    frames // self.samples, device=self.source.device)
                first = first[:, None] * len(self.source)
                self._of[frames] = Neighbours(
                    (first + self.source).flatten(), self.found,
                    (first + self.reader).flatten(), self.read)
        return self._of[frames]

    def __call__(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        return self.neighbours(x.shape[:-2].numel()).shift(x)


class _Gather(torch.autograd.Function):
    """:meth:`Neighbours.shift`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, found: Tensor,
                reader: Tensor, read: Tensor) -> Tensor:
        ctx.save_for_backward(reader, read)
        return _gather(x, source, found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        return _gather(grad, *ctx.saved_tensors), None, None, None, None


class _MixAndDifference(torch.autograd.Function):
    """:meth:`Neighbours.mix_and_difference`, without a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, before: Tensor,
                source: Tensor, found: Tensor, reader: Tensor,
                read: Tensor) -> Tensor:
        ctx.save_for_backward(x, mu, source, found, reader, read)
        ctx.known = known = len(before)
        out = x.new_empty(*x.shape[:-1], 2 * x.shape[-1])
        mixed, difference = out.chunk(2, dim=-1)
        into(mixed, torch.lerp, x, _gather(x, source, found),
             mu[:, None, None])
        if known:
            into(difference[:known], torch.sub, x[:known], before)
        difference[known:].zero_()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        x, mu, source, found, reader, read = ctx.saved_tensors
        of_mixed, of_difference = grad.chunk(2, dim=-1)
        of_difference = of_difference[:ctx.known]
        of_shifted = of_mixed * mu[:, None, None]
        grad_x = of_mixed - of_shifted + _gather(of_shifted, reader, read)
        grad_x[:ctx.known] += of_difference
        grad_mu = of_mixed * (_gather(x, source, found) - x)
        return (grad_x, grad_mu.sum((1, 2)), -of_difference, None, None, None,
                None)


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
    result: List[Tensor] = []
    for sign in (1, -1):
        neighbour = torch.stack(
            [token.gather(1, here + sign * step) for step in steps], -1)
        neighbour = F.pad(neighbour, (0, 0, 0, 1), value=P)  # CLS
        found = neighbour >= 0  # (B, L, 4)
        index = neighbour.clamp(min=0)[:, :, None].expand(pieces.shape)
        source = pieces.gather(1, index)
        found = found[:, :, None].expand(pieces.shape)
        result += [torch.where(found, source, pieces), found]
    source, found, reader, read = result
    return source, found, reader, read
