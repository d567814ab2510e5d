# Copyright (c) The mmlcr authors. All rights reserved.
"""The memory that LCR carries from frame to frame, equations (9), (10)."""
from typing import Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

# Far above what a clip reaches and far below what a square overflows: it is
# there only so that an endless stream stays finite.
FINITE_BOUND = 1e15

FORGET_BIAS = 2.  # sigmoid(2) = 0.88: a memory of some eight frames at first


class PaperCell(BaseModule):
    """The paper's cell, eq. (9): the edge prompt is the forget gate.

    ``c_t = e_t * (tanh(A_t) + c_{t-1}) + c_{t-1}``

    Args:
        clip (float, optional): Range that ``c`` is clamped to; beyond 10 or
            so ``tanh`` is flat anyway. Defaults to None: ``FINITE_BOUND``.
    """

    def __init__(self, clip: Optional[float] = None) -> None:
        super().__init__()
        if clip is not None and not clip > 0:
            raise ValueError(f'cell_clip must be positive, got {clip}')
        self.bound = FINITE_BOUND if clip is None else clip

    def gate(self, e: Tensor) -> Tensor:
        """The forget gate of the edge prompt ``e``, same shape."""
        return e

    def forward(self, candidate: Tensor, forget_gate: Tensor,
                c: Tensor) -> Tensor:
        """The next cell.

        Args:
            candidate (Tensor): ``A_t``, shape ``(B, L, D)``.
            forget_gate (Tensor): Of this frame, shape ``(B, L, D)``.
            c (Tensor): ``c_{t-1}``, shape ``(B, L, D)``.

        Returns:
            Tensor: ``c_t``, shape ``(B, L, D)``.
        """
        c = forget_gate * (torch.tanh(candidate) + c) + c
        return c.clamp(-self.bound, self.bound)


class CoupledCell(BaseModule):
    """A bounded cell: an LSTM's, with input gate one minus forget gate.

    ``f_t = sigmoid(W_f e_t + b_f)``,
    ``c_t = f_t * c_{t-1} + (1 - f_t) * tanh(A_t)``, so ``|c_t| <= 1``.

    Args:
        embed_dims (int): Width ``D``.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.forget = nn.Linear(embed_dims, embed_dims)
        nn.init.constant_(self.forget.bias, FORGET_BIAS)

    def gate(self, e: Tensor) -> Tensor:
        """The forget gate of the edge prompt ``e``, same shape."""
        return torch.sigmoid(self.forget(e))

    def forward(self, candidate: Tensor, forget_gate: Tensor,
                c: Tensor) -> Tensor:
        """The next cell; arguments as in :class:`PaperCell`."""
        return torch.lerp(torch.tanh(candidate), c, forget_gate)


def hidden_state(candidate: Tensor, c: Tensor) -> Tensor:
    """``h_t = tanh(c_t) * sigmoid(A_t)``, equation (10)."""
    return torch.tanh(c) * torch.sigmoid(candidate)


def build_cell(kind: str, embed_dims: int,
               clip: Optional[float]) -> BaseModule:
    """The cell by its name in the config, ``'paper'`` or ``'coupled'``."""
    if kind == 'paper':
        return PaperCell(clip)
    if kind == 'coupled':
        return CoupledCell(embed_dims)
    raise ValueError(f"cell must be 'paper' or 'coupled', got {kind!r}")

