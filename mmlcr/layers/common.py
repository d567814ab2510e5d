# Copyright (c) The mmlcr authors. All rights reserved.
"""Inputs, states, constants and functions that both layer types share."""
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from mmlcr.ops import TokenShift
from .cell import Cell

FASTEST_DECAY, SLOWEST_DECAY = 1., -5.  # initial range of log(-w) in a head
# Clamp of log(-w): exp(-exp(10)) is zero even in float64. If exp(log(-w))
# overflowed, the gradient would be zero times infinity.
STRONGEST_DECAY = 10.
FORGET_BIAS = 2.  # sigmoid(2) = 0.88: initially, some eight frames of memory


class LayerState(NamedTuple):
    """State of a layer between two frames, each ``(B, L, D)``."""
    h: Tensor  # hidden state
    c: Tensor  # cell state
    x: Optional[Tensor]  # normed frame tokens, for the temporal difference

    @classmethod
    def zeros(cls, x: Tensor) -> 'LayerState':
        """Return the state before the first frame, for tokens like ``x``."""
        zeros = x.new_zeros(
            x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
        return cls(zeros, zeros, None)


class Prompt(NamedTuple):
    """The edge prompt of a frame, each ``(B, L, D)``."""
    e: Tensor
    normed: Tensor  # layer norm of e
    # ``normed`` of the previous frame, or of this one if it is the first; None
    # without temporal difference
    before: Optional[Tensor]


class Geometry(NamedTuple):
    """Positions of a frame's tokens; all layers share them."""
    shift: TokenShift
    rotation: Optional[Tensor]  # rotary_table(); None without rotary position


def build_forget_gate(embed_dims: int, cell: Cell) -> nn.Module:
    """Build the module from the edge prompt to the forget gate's logit.

    For the paper's cell it is the identity.
    """
    if not cell.has_weights:
        return nn.Identity()
    gate = nn.Linear(embed_dims, embed_dims)
    nn.init.constant_(gate.bias, FORGET_BIAS)
    return gate


def log_decay(decay: Tensor) -> Tensor:
    """Compute ``w = -exp(decay)`` of equation (6), in float32 or wider."""
    wide = torch.promote_types(decay.dtype, torch.float32)
    return -torch.exp(decay.to(wide).clamp(max=STRONGEST_DECAY))


def mix(x: Tensor, shift: TokenShift, mu: Tensor) -> Tensor:
    """Mix each token with its neighbours, equation (3), ``(B, L, D)``."""
    return torch.lerp(x, shift(x), mu.to(x.dtype))
