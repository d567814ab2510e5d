# Copyright (c) The mmlcr authors. All rights reserved.
"""What packed layers of both kinds share."""
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
    residual: bool  # a layer gives A + h to the next, instead of the paper's h
    post_norm: bool  # norms come after the branches of Vision-RWKV's layers
    neighbours: Any = None  # Neighbours of the frames of a step
    rotation: Optional[Tensor] = None  # rotary position


def unwrapped(function: Callable) -> Callable:
    """Leave a function as it is."""
    return function


def forget_gate(cell: Cell, e: Tensor, weight: Optional[Tensor],
                bias: Optional[Tensor]) -> Tensor:
    """The forget gate of the edge prompt ``e``, of ``n`` layers.

    Args:
        cell (Cell): Of all layers.
        e (Tensor): Shape ``(n, B, L, D)``.
        weight (Tensor, optional): Shape ``(n, D, D)``; None where the edge
            prompt itself is the gate.
        bias (Tensor, optional): Shape ``(n, D)``.
    """
    if weight is None or bias is None:
        return cell.activate(e)
    return cell.activate(add_linear(bias[:, None], e, weight))


def gate_weights(
        gate: nn.Module) -> Tuple[Optional[Tensor], Optional[Tensor]]:
    """Weight and bias of a layer's ``forget``, where it has any."""
    if isinstance(gate, nn.Linear):
        return gate.weight, gate.bias
    return None, None


def centred(value: Tensor, heads: Sequence[int]) -> Tensor:
    """Rows ``(H * K, inputs)`` whose outputs have no mean along a head.

    Then the operator's output has none either, and :func:`norm_heads` need
    not subtract it.
    """
    value = value.unflatten(0, [*heads])
    return (value - value.mean(1, keepdim=True)).flatten(0, 1)


def transposed(weight: Optional[Tensor]) -> Any:
    """Stacked matrices with contiguous columns; other tensors unchanged."""
    if weight is None or weight.ndim < 3:
        return weight
    return weight.mT.contiguous().mT


def norm_heads(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LN_head of eq.

    (7) for ``(n, B, L, H, K)`` without a mean.
    """
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    y = y * torch.rsqrt(norm * norm / y.shape[-1] + NORM_EPS)
    weight, bias = (
        t.unflatten(-1, y.shape[-2:])[:, None, None] for t in (weight, bias))
    return torch.addcmul(bias, y, weight)
