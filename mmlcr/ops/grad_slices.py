# Copyright (c) The mmlcr authors. All rights reserved.
"""Many slices of a tensor, with one gradient buffer for all of them."""
from typing import Any, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GradSlices:
    """A tensor ``(N, ...)`` whose slices ``[start:stop]`` share a gradient.

    The gradient of each plain slice would be a tensor of the size of ``x``,
    most of it zeros, to be added to the others.

    Args:
        x (Tensor): Shape ``(N, ...)``.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.buffer: Optional[_Buffer] = None
        if (x.requires_grad and torch.is_grad_enabled()
                and not torch.compiler.is_compiling()):
            self.buffer = _Buffer()
            self.x = _Root.apply(x, self.buffer)

    def __getitem__(self, part: slice) -> Tensor:
        if self.buffer is None:
            return self.x[part]
        return _Slice.apply(self.x, self.buffer, part)


class _Buffer:
    """Sum of the gradients of all slices in a backward pass."""
    total: Optional[Tensor] = None


class _Slice(torch.autograd.Function):
    """A slice that adds its gradient to the buffer, and passes none on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, buffer: _Buffer, part: slice) -> Tensor:
        ctx.buffer, ctx.part, ctx.shape = buffer, part, x.shape
        return x[part]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        buffer = ctx.buffer
        if buffer.total is None:
            buffer.total = grad.new_zeros(ctx.shape)
        buffer.total[ctx.part] += grad
        return None, None, None


class _Root(torch.autograd.Function):
    """The identity, whose backward pass comes after that of all slices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, buffer: _Buffer) -> Tensor:
        ctx.buffer = buffer
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Optional[Tensor]) -> Tuple:
        assert grad is None  # slices pass none on
        total, ctx.buffer.total = ctx.buffer.total, None
        return total, None
