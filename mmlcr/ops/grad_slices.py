# Copyright (c) The mmlcr authors. All rights reserved.
"""Many slices of a tensor, with one gradient buffer for all of them."""
from typing import Any, NamedTuple, Optional, Tuple

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
        found = _Slice.apply(self.x, self.buffer, part)
        found.origin = Origin(self.x, self.buffer, part)
        return found


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Compute ``x weight^T`` of ``(n, M, I)`` and ``(n, O, I)``.

    Where the weight is a slice of :class:`GradSlices`, the product that is its
    gradient is added to the buffer at once.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(
            x.device.type) or not torch.is_grad_enabled():
        return torch.bmm(x, weight.mT)
    origin = getattr(weight, 'origin', None)
    if origin is None:
        return torch.bmm(x, weight.mT)
    return _Multiply.apply(x, weight.detach(), *origin)


class _Buffer:
    """Sum of the gradients of all slices in a backward pass."""
    total: Optional[Tensor] = None

    def __getitem__(self, part: slice) -> Tensor:
        assert self.total is not None
        return self.total[part]

    def start(self, like: Tensor) -> None:
        """Start from zero, unless there are gradients already."""
        if self.total is None:
            self.total = torch.zeros_like(like)


class Origin(NamedTuple):
    """Where a slice comes from."""
    x: Tensor
    buffer: _Buffer
    part: slice


class _Slice(torch.autograd.Function):
    """A slice that adds its gradient to the buffer, and passes none on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, buffer: _Buffer, part: slice) -> Tensor:
        ctx.origin = Origin(x.detach(), buffer, part)
        return x[part]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        x, buffer, part = ctx.origin
        buffer.start(x)
        buffer[part].add_(grad)
        return None, None, None


class _Multiply(torch.autograd.Function):
    """A product whose gradient by the weight is added to the buffer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, whole: Tensor,
                buffer: _Buffer, part: slice) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.origin = Origin(whole.detach(), buffer, part)
        return torch.bmm(x, weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        x, weight = ctx.saved_tensors
        whole, buffer, part = ctx.origin
        buffer.start(whole)
        buffer[part].baddbmm_(grad.mT, x)
        grad_x = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, None, None


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
