# Copyright (c) The mmlcr authors. All rights reserved.
"""Operations of ``n`` layers in one call, each with its own weights.

Inputs ``(n, B, L, D)`` and weights ``(n, ...)`` have the layers first.
"""
from typing import Any, Callable, List, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .grad_slices import GradSlices, multiply

NORM_EPS = 1e-5  # eps of all norms


def stack(layers: Sequence[Any]) -> Any:
    """Stack the fields of named tuples of tensors; None stays None."""
    if len(layers) == 1:  # no copy
        return type(layers[0])(*(None if t is None else t[None]
                                 for t in layers[0]))
    fields: List[Optional[Tensor]] = [
        None if field[0] is None else torch.stack(field)
        for field in zip(*layers)
    ]
    return type(layers[0])(*fields)


def map_tensors(function: Callable[[Any], Any], batched: Any) -> Any:
    """Apply a function to the tensors of nested named tuples.

    Other fields, such as None and numbers, stay.
    """
    if isinstance(batched, tuple):
        return type(batched)._make(  # type: ignore[attr-defined]
            map_tensors(function, field) for field in batched)
    if isinstance(batched, (Tensor, GradSlices)):
        return function(batched)
    return batched


def narrow(batched: Any, start: int, stop: int) -> Any:
    """Select the layers ``start`` to ``stop - 1`` of nested named tuples."""
    return map_tensors(lambda t: t[start:stop], batched)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Apply linear layers ``(n, O, I)`` to inputs ``(n, B, L, I)``."""
    y = multiply(x.flatten(1, 2), weight)
    return y.view(*x.shape[:-1], -1)


def add_linear(base: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Compute ``base + linear(x, weight)``; ``base`` is broadcast."""
    if base.ndim == x.ndim:
        base = base.flatten(1, 2)
    y = torch.baddbmm(base, x.flatten(1, 2), weight.mT)
    return y.view(*x.shape[:-1], -1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply layer norms with weights ``(n, D)`` to ``(n, B, L, D)``."""
    if len(x) == 1:
        return F.layer_norm(x, x.shape[-1:], weight[0], bias[0], NORM_EPS)
    normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
    return torch.addcmul(bias[:, None, None], normed, weight[:, None, None])
