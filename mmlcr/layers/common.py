# Copyright (c) The mmlcr authors. All rights reserved.
"""What both kinds of layers read, carry and start from."""
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from mmlcr.ops import TokenShift
from .cell import Cell

FASTEST_DECAY, SLOWEST_DECAY = 1., -5.  # of log(-w), across a head
# Clamp of log(-w): exp(-exp(10)) is zero even in float64. Where exp(log(-w))
# overflows, the gradient would be zero times infinity.
STRONGEST_DECAY = 10.
FORGET_BIAS = 2.  # sigmoid(2) = 0.88: a memory of some eight frames at first


class LayerState(NamedTuple):
    """What a layer carries from a frame to the next, each ``(B, L, D)``."""
    h: Tensor  # hidden state
    c: Tensor  # cell
    x: Optional[Tensor]  # normed frame tokens, for the temporal difference

    @classmethod
    def zeros(cls, x: Tensor) -> 'LayerState':
        """The state before the first frame, for tokens like ``x``."""
        zeros = x.new_zeros(
            x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
        return cls(zeros, zeros, None)


class Prompt(NamedTuple):
    """The edge prompt of a frame, each ``(B, L, D)``."""
    e: Tensor
    normed: Tensor  # the layer norm of e
    # normed, of the previous frame, or of this one if it is the first; None
    # without temporal difference
    before: Optional[Tensor]


class Geometry(NamedTuple):
    """Where the tokens of a frame sit, which all layers share."""
    shift: TokenShift
    rotation: Optional[Tensor]  # of rotary_table; None without rotary position


def build_forget_gate(embed_dims: int, cell: Cell) -> nn.Module:
    """The module that makes the forget gate's logit of the edge prompt.

    The paper's cell takes the edge prompt as it is.
    """
    if not cell.has_weights:
        return nn.Identity()
    gate = nn.Linear(embed_dims, embed_dims)
    nn.init.constant_(gate.bias, FORGET_BIAS)
    return gate


def log_decay(decay: Tensor) -> Tensor:
    """``w = -exp(decay)`` of eq.

    (6), in float32 or wider.
    """
    wide = torch.promote_types(decay.dtype, torch.float32)
    return -torch.exp(decay.to(wide).clamp(max=STRONGEST_DECAY))


def mix(x: Tensor, shift: TokenShift, mu: Tensor) -> Tensor:
    """Each token with its neighbours, eq.

    (3), ``(B, L, D)``.
    """
    return torch.lerp(x, shift(x), mu.to(x.dtype))
