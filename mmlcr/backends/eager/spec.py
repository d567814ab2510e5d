# Copyright (c) The mmlcr authors. All rights reserved.
"""Options and functions that packed layers of both types share."""
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmlcr.layers import Cell
from mmlcr.ops.batched import NORM_EPS, add_linear

Wrap = Callable[[Callable], Callable]  # e.g. torch.compile


class StackSpec(NamedTuple):
    """The options of the layers, and the geometry of a step."""
    cell: Cell
    temporal_shift: bool
    residual: bool  # a layer's output is A + h, instead of the paper's h
    post_norm: bool  # Vision-RWKV's layers have norms after their branches
    neighbours: Any = None  # Neighbours of the frames of a step
    rotation: Optional[Tensor] = None  # rotary position


def unwrapped(function: Callable) -> Callable:
    """Return the function itself."""
    return function


def forget_gate(cell: Cell, e: Tensor, weight: Optional[Tensor],
                bias: Optional[Tensor]) -> Tensor:
    """Compute the forget gates of ``n`` layers.

    Args:
        cell (Cell): The cell that all layers have.
        e (Tensor): Edge prompt, shape ``(n, B, L, D)``.
        weight (Tensor, optional): Shape ``(n, D, D)``; None if the edge
            prompt itself is the gate.
        bias (Tensor, optional): Shape ``(n, D)``.
    """
    if weight is None or bias is None:
        return cell.activate(e)
    return cell.activate(add_linear(bias[:, None], e, weight))


def gate_weights(
        gate: nn.Module) -> Tuple[Optional[Tensor], Optional[Tensor]]:
    """Return weight and bias of a layer's ``forget``, or None."""
    if isinstance(gate, nn.Linear):
        return gate.weight, gate.bias
    return None, None


def centred(value: Tensor, heads: Sequence[int]) -> Tensor:
    """Subtract each head's mean from the rows ``(H * K, inputs)``.

    Then the mean of the operator's output over a head is zero, and
    :func:`norm_heads` need not subtract it.
    """
    value = value.unflatten(0, [*heads])
    return (value - value.mean(1, keepdim=True)).flatten(0, 1)


def transposed(weight: Optional[Tensor]) -> Any:
    """Make the columns of stacked matrices contiguous."""
    if weight is None or weight.ndim < 3:
        return weight
    return weight.mT.contiguous().mT


def norm_heads(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LN_head of equation (7) for inputs ``(n, B, L, H, K)`` of mean zero."""
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    y = y * torch.rsqrt(norm * norm / y.shape[-1] + NORM_EPS)
    weight, bias = (
        t.unflatten(-1, y.shape[-2:])[:, None, None] for t in (weight, bias))
    return torch.addcmul(bias, y, weight)
