# Copyright (c) The mmlcr authors. All rights reserved.
"""Several layers side by side: weights and inputs ``(n, ...)``, one call.

A token ``(n, B, L, D)`` of layer ``i`` only meets the weights of layer ``i``.
"""
from typing import Any, List, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_EPS = 1e-5  # of all norms


def stack(layers: Sequence[Any]) -> Any:
    """Named tuples of tensors to one of stacked tensors; None stays None."""
    if len(layers) == 1:  # no copy
        return type(layers[0])(*(None if t is None else t[None]
                                 for t in layers[0]))
    fields: List[Optional[Tensor]] = [
        None if field[0] is None else torch.stack(field)
        for field in zip(*layers)
    ]
    return type(layers[0])(*fields)


def narrow(stacked: Any, start: int, stop: int) -> Any:
    """Some of the layers."""
    return type(stacked)(*(None if t is None else t[start:stop]
                           for t in stacked))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``(n, B, L, I)`` times ``(n, O, I)``, as :class:`torch.nn.Linear`."""
    y = torch.bmm(x.flatten(1, 2), weight.mT)
    return y.view(*x.shape[:-1], -1)


def add_linear(base: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``base + linear(x, weight)`` in one go; ``base`` is broadcast."""
    if base.ndim == x.ndim:
        base = base.flatten(1, 2)
    y = torch.baddbmm(base, x.flatten(1, 2), weight.mT)
    return y.view(*x.shape[:-1], -1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer norm of ``(n, B, L, D)``, weights ``(n, D)``."""
    if len(x) == 1:
        return F.layer_norm(x, x.shape[-1:], weight[0], bias[0], NORM_EPS)
    normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
    return torch.addcmul(bias[:, None, None], normed, weight[:, None, None])
