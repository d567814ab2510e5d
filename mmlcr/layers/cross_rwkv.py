# Copyright (c) The mmlcr authors. All rights reserved.
"""A Cross RWKV layer with its memory, eqs. (3) to (10).

Inside a layer tensors are time first, ``(T, B, L, D)``, so that the frame at
``t`` is a contiguous slice. Everything that does not depend on the memory is
computed for all frames before the loop over time.
"""
from typing import List, NamedTuple, Optional, Tuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlcr.ops import BiWKVDecays, bi_wkv_chunked
from .cell import build_cell, hidden_state
from .rotary import rotate
from .token_shift import TokenShift

FASTEST_DECAY, SLOWEST_DECAY = 1., -5.  # of log(-w), across a head


class Prompt(NamedTuple):
    """The edge prompt, which all layers read alike."""
    e: Tensor  # (T, B, L, D)
    normed: Tensor  # (T, B, L, D)
    before: Optional[Tensor]  # (B, L, D), normed, of the frame before


class LayerState(NamedTuple):
    """What a layer carries from a frame to the next, each ``(B, L, D)``."""
    h: Tensor  # hidden state
    c: Tensor  # cell
    x: Optional[Tensor]  # normed frame tokens, for the temporal difference


class SpatialMix(BaseModule):
    """Cross RWKV gate: the frame and the past ask, the edges answer.

    Eqs. (3) to (7).

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        temporal_shift (bool): Whether the difference to the previous frame
            is concatenated to the inputs of eqs. (4) and (5).
    """

    def __init__(self, embed_dims: int, num_heads: int,
                 temporal_shift: bool) -> None:
        super().__init__()
        D, H = embed_dims, num_heads
        inputs = 2 * D if temporal_shift else D
        self.num_heads = H
        self.temporal_shift = temporal_shift
        self.norm_x = nn.LayerNorm(D)
        self.norm_h = nn.LayerNorm(D)
        self.mu_x = nn.Parameter(torch.full((D, ), 0.5))
        self.mu_e = nn.Parameter(torch.full((D, ), 0.5))
        # rows: receptance, gate; W [x~; h] = W_x x~ + W_h h
        self.receptance_gate_x = nn.Linear(inputs, 2 * D, bias=False)
        self.receptance_gate_h = nn.Linear(D, 2 * D, bias=False)
        self.key_value = nn.Linear(inputs, 2 * D, bias=False)
        self.decay = nn.Parameter(
            torch.linspace(SLOWEST_DECAY, FASTEST_DECAY, D // H).repeat(H, 1))
        self.bonus = nn.Parameter(torch.full((H, D // H), 0.5))
        self.norm_y = nn.GroupNorm(H, D)
        self.output = nn.Linear(D, D, bias=False)

    def ask(self, x: Tensor, x_before: Optional[Tensor],
            shift: TokenShift) -> Tuple[Tensor, Tensor]:
        """The frames' part of eq. (4).

        Args:
            x (Tensor): Frame tokens, shape ``(T, B, L, D)``.
            x_before (Tensor, optional): Normed tokens of the frame before
                the first, shape ``(B, L, D)``.
            shift (TokenShift): Both shifts.

        Returns:
            tuple[Tensor, Tensor]: Receptance and gate side by side, shape
            ``(T, B, L, 2D)``, and the normed tokens.
        """
        x = self.norm_x(x)
        return self.receptance_gate_x(
            self._shift(x, x_before, self.mu_x, shift)), x

    def answer(self, prompt: Prompt, shift: TokenShift,
               rotation: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Keys, turned, and values, eq. (5), each ``(T, B, L, H, K)``.

        Values have no mean along a head, so that what is read of them has
        none, and the norm of eq. (7) need not take it.

        Args:
            prompt (Prompt): Of ``T`` frames.
            shift (TokenShift): Both shifts.
            rotation (Tensor, optional): Rotary position of the keys.
        """
        inputs = self._shift(prompt.normed, prompt.before, self.mu_e, shift)
        k, v = self.key_value(inputs).unflatten(
            -1, (2, self.num_heads, -1)).unbind(-3)
        return rotate(k, rotation), v - v.mean(-1, keepdim=True)

    def forward(self, x: Tensor, asked: Tensor, h: Tensor, k: Tensor,
                v: Tensor, decays: BiWKVDecays,
                rotation: Optional[Tensor]) -> Tensor:
        """One frame, eqs. (4), (6) and (7).

        Args:
            x (Tensor): Frame tokens, shape ``(B, L, D)``.
            asked (Tensor): The frame's part of eq. (4), ``(B, L, 2D)``.
            h (Tensor): Hidden state ``h_{t-1}``, shape ``(B, L, D)``.
            k (Tensor): Keys, shape ``(B, L, H, K)``.
            v (Tensor): Values, shape ``(B, L, H, K)``.
            decays (BiWKVDecays): Of this layer.
            rotation (Tensor, optional): Rotary position of the receptance.

        Returns:
            Tensor: ``a_t``, shape ``(B, L, D)``.
        """
        asked = _add_product(asked, self.norm_h(h), self.receptance_gate_h)
        r, g = asked.chunk(2, dim=-1)
        r = rotate(r.unflatten(-1, (self.num_heads, -1)), rotation)
        y = self._norm(bi_wkv_chunked(r, k, v, decays))
        gated = nn.functional.silu(g).view_as(y) * y
        return _add_product(x, gated.flatten(-2), self.output)

    def _norm(self, y: Tensor) -> Tensor:
        """LN_head of eq. (7) where the mean is zero, ``(B, L, H, K)``."""
        variance = (y * y).mean(-1, keepdim=True)
        y = y * torch.rsqrt(variance + self.norm_y.eps)
        weight, bias = self.norm_y.weight, self.norm_y.bias
        heads = y.shape[-2:]
        return torch.addcmul(bias.view(heads), y, weight.view(heads))

    def _shift(self, x: Tensor, before: Optional[Tensor], mu: Tensor,
               shift: TokenShift) -> Tensor:
        if self.temporal_shift:
            return shift.mix_and_difference(x, before, mu)
        return shift.mix(x, mu)


class ChannelMix(BaseModule):
    """Channel mix, eq. (8).

    Args:
        embed_dims (int): Width ``D``.
        hidden_rate (float): Inner width over ``D``.
    """

    def __init__(self, embed_dims: int, hidden_rate: float) -> None:
        super().__init__()
        inner = int(hidden_rate * embed_dims)
        self.widths = embed_dims, inner
        self.norm = nn.LayerNorm(embed_dims)
        self.mu = nn.Parameter(torch.full((embed_dims, ), 0.5))
        # rows: receptance, key
        self.receptance_key = nn.Linear(
            embed_dims, embed_dims + inner, bias=False)
        self.value = nn.Linear(inner, embed_dims, bias=False)

    def forward(self, a: Tensor, shift: TokenShift) -> Tensor:
        """``a_t`` to ``A_t``, both ``(B, L, D)``."""
        mixed = shift.mix(self.norm(a), self.mu)
        r, k = self.receptance_key(mixed).split(self.widths, dim=-1)
        value = self.value(nn.functional.relu(k) * k)  # relu(k)^2
        return torch.addcmul(a, torch.sigmoid(r), value)


class CrossRWKVLayer(BaseModule):
    """Spatial mix, channel mix and cell of one layer, over time.

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        hidden_rate (float): Inner width of the channel mix over ``D``.
        temporal_shift (bool): Temporal difference, see :class:`SpatialMix`.
        cell (str): ``'paper'`` or ``'coupled'``.
        cell_clip (float, optional): Range of the paper's cell.
        residual (bool): Whether the layer gives ``A_t + h_t`` to the next,
            instead of the paper's ``h_t``.
    """

    def __init__(self, embed_dims: int, num_heads: int, hidden_rate: float,
                 temporal_shift: bool, cell: str, cell_clip: Optional[float],
                 residual: bool) -> None:
        super().__init__()
        self.spatial_mix = SpatialMix(embed_dims, num_heads, temporal_shift)
        self.channel_mix = ChannelMix(embed_dims, hidden_rate)
        self.cell = build_cell(cell, embed_dims, cell_clip)
        self.residual = residual

    def forward(
        self, x: Tensor, prompt: Prompt, state: Optional[LayerState],
        decays: BiWKVDecays, shift: TokenShift, rotation: Optional[Tensor]
    ) -> Tuple[Tensor, List[Tensor], LayerState]:
        """Run the layer over ``T`` frames.

        Args:
            x (Tensor): Frame tokens, shape ``(T, B, L, D)``.
            prompt (Prompt): Edge prompt of the same frames.
            state (LayerState, optional): After the frame before; None starts
                afresh.
            decays (BiWKVDecays): Of this layer, for ``L`` tokens.
            shift (TokenShift): Both shifts.
            rotation (Tensor, optional): Rotary position.

        Returns:
            tuple[Tensor, list[Tensor], LayerState]: What the next layer
            reads, shape ``(T, B, L, D)``, the cell after every frame, each
            ``(B, L, D)``, and the state after the last.
        """
        h, c, x_before = state or initial_state(x)
        asked, x_normed = self.spatial_mix.ask(x, x_before, shift)
        keys, values = self.spatial_mix.answer(prompt, shift, rotation)
        forget_gate = self.cell.gate(prompt.e)
        outputs, cells = [], []
        for x_t, asked_t, k, v, gate in zip(x, asked, keys, values,
                                            forget_gate):
            a = self.spatial_mix(x_t, asked_t, h, k, v, decays, rotation)
            A = self.channel_mix(a, shift).to(c.dtype)  # the state's float32
            c = self.cell(A, gate.to(c.dtype), c)
            h = hidden_state(A, c)
            outputs.append(A + h if self.residual else h)
            cells.append(c)
        x_last = x_normed[-1] if self.spatial_mix.temporal_shift else None
        return torch.stack(outputs), cells, LayerState(h, c, x_last)


def initial_state(x: Tensor) -> LayerState:
    """Nothing remembered, for frames ``x`` of shape ``(T, B, L, D)``."""
    zeros = x.new_zeros(
        x.shape[1:], dtype=torch.promote_types(x.dtype, torch.float32))
    return LayerState(zeros, zeros, None)


def _add_product(base: Tensor, x: Tensor, linear: nn.Linear) -> Tensor:
    """``base + linear(x)``, in one go."""
    return torch.addmm(
        base.flatten(0, -2), x.flatten(0, -2),
        linear.weight.t()).view_as(base)
