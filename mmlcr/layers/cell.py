# Copyright (c) The mmlcr authors. All rights reserved.
"""The LSTM cell, which connects the frames: equations (9) and (10)."""
from typing import Optional, Union

import torch
from torch import Tensor, nn

# Clamp that keeps an endless stream finite: far above the cells of a clip, and
# small enough that squares do not overflow.
FINITE_BOUND = 1e15


class PaperCell(nn.Module):
    """The paper's cell, eq. (9): the edge prompt is the forget gate.

    ``c_t = e_t * (tanh(A_t) + c_{t-1}) + c_{t-1}``

    Args:
        clip (float, optional): Bound that ``c`` is clamped to; ``tanh`` is
            flat beyond about 10. Defaults to None: ``FINITE_BOUND``.
    """
    has_weights = False

    def __init__(self, clip: Optional[float] = None) -> None:
        super().__init__()
        if clip is not None and not clip > 0:
            raise ValueError(f'cell_clip must be positive, got {clip}')
        self.bound = FINITE_BOUND if clip is None else clip

    def retention(self, forget_gate: Tensor) -> Tensor:
        """Return the factor of ``c_{t-1}`` in ``c_t``."""
        return 1 + forget_gate

    def activate(self, logit: Tensor) -> Tensor:
        """Return the forget gate, which is the edge prompt itself."""
        return logit

    def forward(self, candidate: Tensor, forget_gate: Tensor,
                c: Tensor) -> Tensor:
        """Compute the next cell state ``c_t``; all shapes are equal.

        Args:
            candidate (Tensor): ``A_t``.
            forget_gate (Tensor): The gate of this frame.
            c (Tensor): ``c_{t-1}``.
        """
        c = forget_gate * (torch.tanh(candidate) + c) + c
        return c.clamp(-self.bound, self.bound)


class CoupledCell(nn.Module):
    """An LSTM cell whose input gate is one minus the forget gate.

    ``f_t = sigmoid(W_f e_t + b_f)``,
    ``c_t = f_t * c_{t-1} + (1 - f_t) * tanh(A_t)``, so ``|c_t| <= 1``.
    """
    has_weights = True

    def activate(self, logit: Tensor) -> Tensor:
        """Compute the forget gate from its logit, in float32 or wider.

        In half precision, a gate close to one would be rounded to one, and
        never forget.
        """
        return torch.sigmoid(
            logit.to(torch.promote_types(logit.dtype, torch.float32)))

    def retention(self, forget_gate: Tensor) -> Tensor:
        """Return the factor of ``c_{t-1}`` in ``c_t``: the gate itself."""
        return forget_gate

    def forward(self, candidate: Tensor, forget_gate: Tensor,
                c: Tensor) -> Tensor:
        """Compute the next cell state; see :meth:`PaperCell.forward`."""
        return torch.lerp(torch.tanh(candidate), c, forget_gate)


Cell = Union[PaperCell, CoupledCell]


def hidden_state(candidate: Tensor, c: Tensor) -> Tensor:
    """Compute ``h_t = tanh(c_t) * sigmoid(A_t)``, equation (10)."""
    return torch.tanh(c) * torch.sigmoid(candidate)


def build_cell(kind: str, clip: Optional[float]) -> Cell:
    """Build the cell by its name, ``'paper'`` or ``'coupled'``."""
    if kind == 'paper':
        return PaperCell(clip)
    if kind == 'coupled':
        return CoupledCell()
    raise ValueError(f"cell must be 'paper' or 'coupled', got {kind!r}")
