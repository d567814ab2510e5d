# Copyright (c) The mmlcr authors. All rights reserved.
"""The spatial token shift, equation (3)."""
import functools
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layout import TokenLayout
from .write_out import write_out


class Neighbours(NamedTuple):
    """Gather indices and masks of the shift, in pieces of ``K / 4`` channels.

    A mask is one where the neighbour exists, else zero.
    """
    source: Tensor  # gather index of the forward pass
    mask: Tensor  # (B or 1, L, D), its mask
    grad_index: Tensor  # gather index of the backward pass
    grad_mask: Tensor  # (B or 1, L, D), its mask

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Mix each token with its neighbours: ``x~`` of eq. (3).

        Args:
            x (Tensor): Tokens of ``n`` layers, shape ``(n, B, L, D)``.
            mu (Tensor): Weight of the neighbours, shape ``(n, D)``.
        """
        return torch.lerp(x, self.shift(x), mu[:, None, None].to(x.dtype))

    def mix_and_difference(self, x: Tensor, mu: Tensor,
                           before: Tensor) -> Tensor:
        """Concatenate the spatial mix of eq. (3) and the difference in time.

        Args:
            x (Tensor): Tokens of ``n`` layers, shape ``(n, B, L, D)``.
            mu (Tensor): Weight of the neighbours, shape ``(n, D)``.
            before (Tensor): Tokens of the previous frame for the first ``m``
                layers, shape ``(m, B, L, D)``. The others are at their first
                frame: their difference is zero.

        Returns:
            Tensor: ``x~`` and the difference, shape ``(n, B, L, 2D)``.
        """
        return _MixAndDifference.apply(x, mu.to(x.dtype), before.to(x.dtype),
                                       *self)

    def difference(self, x: Tensor, before: Optional[Tensor]) -> Tensor:
        """Compute the difference to the previous frame, ``(n, B, L, D)``.

        Arguments are those of :meth:`mix_and_difference`; None is ``m = 0``.
        """
        if before is None:
            return torch.zeros_like(x)
        known = len(before)
        return torch.cat([x[:known] - before, torch.zeros_like(x[known:])])

    def shift(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        return _Gather.apply(x, *self)


class TokenShift:
    """Q-shift of Vision-RWKV, part of eq. (3), for one layout.

    The four quarters of every head's channels come from the left, right,
    upper and lower neighbour. A neighbour that is dropped or outside of the
    frame counts as zero. The CLS token is its own neighbour.

    Args:
        layout (TokenLayout): Positions of the tokens.
        num_heads (int): Heads ``H``.
        head_width (int): Head width ``K``.
        device (torch.device): Device of the tokens.
    """

    def __init__(self, layout: TokenLayout, num_heads: int, head_width: int,
                 device: torch.device) -> None:
        index, mask, grad_index, grad_mask = _pieces(
            layout.rows, layout.cols, layout.patch_ids(device), num_heads)
        self.samples, L = index.shape[:2]
        # left, right, upper, lower token or -1, (B or 1, L, 4)
        tokens = index[:, :, 0] // (4 * num_heads) % L
        self.tokens = torch.where(mask[:, :, 0], tokens, -1)
        self.index, self.grad_index = index.flatten(), grad_index.flatten()
        self.mask, self.grad_mask = (
            t.float().repeat_interleave(head_width // 4, -1).flatten(-2)
            for t in (mask, grad_mask))
        self._neighbours: Dict[int, Neighbours] = {}

    @classmethod
    def cached(cls, layout: TokenLayout, num_heads: int, head_width: int,
               device: torch.device) -> 'TokenShift':
        """Like the constructor, with a cache for grids without a mask."""
        if layout.keep_ids is not None:
            return cls(layout, num_heads, head_width, device)
        return _grid_shift(layout, num_heads, head_width, device)

    def neighbours(self, frames: int) -> Neighbours:
        """Return indices and masks for a number of frames.

        With masks, frame ``i`` has the mask of sample ``i mod B``.

        Args:
            frames (int): Product of all dimensions of the tokens except for
                the last two.
        """
        if frames not in self._neighbours:
            with torch.inference_mode(False):  # training uses the cache, too
                first = torch.arange(
                    frames // self.samples, device=self.index.device)
                first = first[:, None] * len(self.index)
                self._neighbours[frames] = Neighbours(
                    (first + self.index).flatten(), self.mask,
                    (first + self.grad_index).flatten(), self.grad_mask)
        return self._neighbours[frames]

    def __call__(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        return self.neighbours(x.shape[:-2].numel()).shift(x)


class _Gather(torch.autograd.Function):
    """:meth:`Neighbours.shift` with its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, mask: Tensor,
                grad_index: Tensor, grad_mask: Tensor) -> Tensor:
        ctx.save_for_backward(grad_index, grad_mask)
        return _gather(x, index, mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        return _gather(grad, *ctx.saved_tensors), None, None, None, None


class _MixAndDifference(torch.autograd.Function):
    """:meth:`Neighbours.mix_and_difference` without copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, before: Tensor,
                index: Tensor, mask: Tensor, grad_index: Tensor,
                grad_mask: Tensor) -> Tensor:
        ctx.save_for_backward(x, mu, index, mask, grad_index, grad_mask)
        ctx.known = known = len(before)
        out = x.new_empty(*x.shape[:-1], 2 * x.shape[-1])
        mixed, difference = out.chunk(2, dim=-1)
        write_out(mixed, torch.lerp, x, _gather(x, index, mask),
                  mu[:, None, None])
        if known:
            write_out(difference[:known], torch.sub, x[:known], before)
        difference[known:].zero_()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        x, mu, index, mask, grad_index, grad_mask = ctx.saved_tensors
        grad_mixed, grad_before = grad.chunk(2, dim=-1)
        grad_before = grad_before[:ctx.known]
        grad_shifted = grad_mixed * mu[:, None, None]
        grad_x = grad_mixed - grad_shifted
        grad_x = grad_x + _gather(grad_shifted, grad_index, grad_mask)
        grad_x[:ctx.known] += grad_before
        grad_mu = grad_mixed * (_gather(x, index, mask) - x)
        return (grad_x, grad_mu.sum((1, 2)), -grad_before, None, None, None,
                None)


def _gather(x: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    pieces = x.reshape(len(index), -1).index_select(0, index)
    return pieces.view(-1, *mask.shape).mul_(mask).view(x.shape)


@functools.lru_cache(maxsize=64)
def _grid_shift(*args: Any) -> TokenShift:
    with torch.inference_mode(False):  # training uses the cache, too
        return TokenShift(*args)


def _pieces(rows: int, cols: int, keep_ids: Tensor,
            num_heads: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute gather indices and masks, forward and backward.

    Indices refer to the flattened quarters ``(B, L, H, 4)``, which is also the
    shape of the results. Without a neighbour, the index is the quarter's own.
    """
    B, P = keep_ids.shape
    # token at each patch of a grid with a border; -1 where there is none
    token = keep_ids.new_full((B, (rows + 2) * (cols + 2)), -1)
    own = (keep_ids // cols + 1) * (cols + 2) + keep_ids % cols + 1
    number = torch.arange(P, device=keep_ids.device).expand(B, P)
    token.scatter_(1, own, number)
    steps = (-1, 1, -(cols + 2), cols + 2)  # left, right, upper, lower
    pieces = torch.arange(
        B * (P + 1) * num_heads * 4, device=keep_ids.device)
    pieces = pieces.view(B, P + 1, num_heads, 4)
    result: List[Tensor] = []
    for sign in (1, -1):
        neighbour = torch.stack(
            [token.gather(1, own + sign * step) for step in steps], -1)
        neighbour = F.pad(neighbour, (0, 0, 0, 1), value=P)  # CLS
        mask = neighbour >= 0  # (B, L, 4)
        index = neighbour.clamp(min=0)[:, :, None].expand(pieces.shape)
        source = pieces.gather(1, index)
        mask = mask[:, :, None].expand(pieces.shape)
        result += [torch.where(mask, source, pieces), mask]
    index, mask, grad_index, grad_mask = result
    return index, mask, grad_index, grad_mask
