# Copyright (c) The mmlcr authors. All rights reserved.
"""Overlapping slices of a tensor, with one gradient buffer for all."""
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Bounds = Sequence[Tuple[int, int]]


def windows(x: Tensor, bounds: Bounds) -> Tuple[Tensor, ...]:
    """Return ``x[start:stop]`` for each pair of bounds.

    The gradients of plain slices would each be a tensor of the size of ``x``,
    most of it zeros.

    Args:
        x (Tensor): Shape ``(N, ...)``.
        bounds (sequence[tuple[int, int]]): Starts and stops, from 0 to ``N``.

    Returns:
        tuple[Tensor, ...]: Views of ``x``.
    """
    if x.requires_grad and torch.is_grad_enabled() and (
            not torch.compiler.is_compiling()):
        return _Windows.apply(x, bounds)
    return tuple(x[start:stop] for start, stop in bounds)


class _Windows(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, bounds: Bounds) -> Tuple[Tensor, ...]:
        ctx.bounds, ctx.shape = bounds, x.shape
        ctx.set_materialize_grads(False)
        return tuple(x[start:stop] for start, stop in bounds)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Tuple:
        known = [grad for grad in grads if grad is not None]
        total = known[0].new_zeros(ctx.shape)
        for (start, stop), grad in zip(ctx.bounds, grads):
            if grad is not None:
                total[start:stop] += grad
        return total, None
