# Copyright (c) The mmlcr authors. All rights reserved.
"""A Cross RWKV layer with its memory, eqs. (3) to (10).

Inside a layer tensors are time first, ``(T, B, L, D)``, so that the frame at
``t`` is a contiguous slice. Everything that does not depend on the memory is
computed for all frames before the loop over time.
"""
from typing import List, NamedTuple, Optional, Tuple

import torch
from einops import rearrange
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlcr.ops import BiWKVMemory, bi_wkv_memory, bi_wkv_read
from .cell import build_cell, hidden_state
from .layout import TokenShift
from .rotary import Rotation, rotate

FASTEST_DECAY, SLOWEST_DECAY = 1., -5.  # of log(-w), across a head


class LayerState(NamedTuple):
    """What a layer carries from a frame to the next, each ``(B, L, D)``."""
    h: Tensor  # hidden state
    c: Tensor  # cell
    x: Optional[Tensor]  # normed frame tokens, for the temporal difference
    e: Optional[Tensor]  # normed edge prompt, likewise


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
        self.norm_e = nn.LayerNorm(D)
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

    def ask(self, x: Tensor, x_previous: Optional[Tensor],
            shift: TokenShift) -> Tuple[Tensor, Tensor]:
        """The frames' part of eq. (4).

        Args:
            x (Tensor): Frame tokens, shape ``(T, B, L, D)``.
            x_previous (Tensor, optional): Normed tokens of the frame before
                the first, shape ``(B, L, D)``.
            shift (TokenShift): The spatial shift.

        Returns:
            tuple[Tensor, Tensor]: Receptance and gate side by side, shape
            ``(T, B, L, 2D)``, and the normed tokens.
        """
        x = self.norm_x(x)
        inputs = self._shift(x, x_previous, self.mu_x, shift)
        return self.receptance_gate_x(inputs), x

    def answer(self, e: Tensor, e_previous: Optional[Tensor],
               shift: TokenShift,
               rotation: Rotation) -> Tuple[BiWKVMemory, Tensor]:
        """Keys and values, eq. (5), summed up for eq. (6).

        Args:
            e (Tensor): Edge prompt, shape ``(T, B, L, D)``.
            e_previous (Tensor, optional): Normed prompt of the frame before
                the first, shape ``(B, L, D)``.
            shift (TokenShift): The spatial shift.
            rotation (Rotation): Rotary position of the keys.

        Returns:
            tuple[BiWKVMemory, Tensor]: The sums and the normed prompt.
        """
        e = self.norm_e(e)
        inputs = self._shift(e, e_previous, self.mu_e, shift)
        k, v = rearrange(
            self.key_value(inputs),
            't b l (n h k) -> n t b l h k',
            n=2,
            h=self.num_heads)
        dtype = torch.promote_types(self.decay.dtype, torch.float32)
        w = -torch.exp(self.decay.to(dtype))
        return bi_wkv_memory(rotate(k, rotation), v, w, self.bonus), e

    def forward(self, x: Tensor, asked: Tensor, h: Tensor, memory: BiWKVMemory,
                rotation: Rotation) -> Tensor:
        """One frame, eqs. (4), (6) and (7).

        Args:
            x (Tensor): Frame tokens, shape ``(B, L, D)``.
            asked (Tensor): The frame's part of eq. (4), ``(B, L, 2D)``.
            h (Tensor): Hidden state ``h_{t-1}``, shape ``(B, L, D)``.
            memory (BiWKVMemory): Sums over the frame's edge prompt.
            rotation (Rotation): Rotary position of the receptance.

        Returns:
            Tensor: ``a_t``, shape ``(B, L, D)``.
        """
        asked = asked + self.receptance_gate_h(self.norm_h(h))
        r, g = asked.chunk(2, dim=-1)
        r = r.unflatten(-1, (self.num_heads, -1))  # (B, L, H, K)
        y = bi_wkv_read(rotate(r, rotation), memory).flatten(-2)
        y = self.norm_y(y.flatten(0, 1)).view_as(y).to(g.dtype)
        return x + self.output(nn.functional.silu(g) * y)

    def _shift(self, x: Tensor, previous: Optional[Tensor], mu: Tensor,
               shift: TokenShift) -> Tensor:
        """Equation (3): ``x~``, and the temporal difference beside it."""
        shifted = torch.lerp(x, shift(x), mu.to(x.dtype))
        if not self.temporal_shift:
            return shifted
        before = x[0] if previous is None else previous.to(x.dtype)
        difference = x - torch.cat([before[None], x[:-1]])
        return torch.cat([shifted, difference], dim=-1)


class ChannelMix(BaseModule):
    """Channel mix, eq. (8).

    Args:
        embed_dims (int): Width ``D``.
        hidden_rate (float): Inner width over ``D``.
    """

    def __init__(self, embed_dims: int, hidden_rate: float) -> None:
        super().__init__()
        inner = int(hidden_rate * embed_dims)
        self.norm = nn.LayerNorm(embed_dims)
        self.mu = nn.Parameter(torch.full((embed_dims, ), 0.5))
        self.receptance = nn.Linear(embed_dims, embed_dims, bias=False)
        self.key = nn.Linear(embed_dims, inner, bias=False)
        self.value = nn.Linear(inner, embed_dims, bias=False)

    def forward(self, a: Tensor, shift: TokenShift) -> Tensor:
        """``a_t`` to ``A_t``, both ``(B, L, D)``."""
        shifted = self.norm(a)
        shifted = torch.lerp(shifted, shift(shifted),
                             self.mu.to(shifted.dtype))
        inner = nn.functional.relu(self.key(shifted)).square()
        return a + torch.sigmoid(self.receptance(shifted)) * self.value(inner)


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

    def forward(self, x: Tensor, e: Tensor, state: Optional[LayerState],
                shift: TokenShift,
                rotation: Rotation) -> Tuple[Tensor, List[Tensor], LayerState]:
        """Run the layer over ``T`` frames.

        Args:
            x (Tensor): Frame tokens, shape ``(T, B, L, D)``.
            e (Tensor): Edge prompt, shape ``(T, B, L, D)``.
            state (LayerState, optional): After the frame before; None starts
                afresh.
            shift (TokenShift): The spatial shift.
            rotation (Rotation): Rotary position, or None.

        Returns:
            tuple[Tensor, list[Tensor], LayerState]: What the next layer
            reads, shape ``(T, B, L, D)``, the cell after every frame, each
            ``(B, L, D)``, and the state after the last.
        """
        h, c, x_previous, e_previous = state or initial_state(x)
        asked, x_normed = self.spatial_mix.ask(x, x_previous, shift)
        memory, e_normed = self.spatial_mix.answer(e, e_previous, shift,
                                                   rotation)
        forget_gate = self.cell.gate(e)
        outputs, cells = [], []
        for x_t, asked_t, memory_t, gate_t in zip(x, asked, memory.unbind(),
                                                  forget_gate):
            a = self.spatial_mix(x_t, asked_t, h, memory_t, rotation)
            A = self.channel_mix(a, shift).to(c.dtype)  # the state's float32
            c = self.cell(A, gate_t.to(c.dtype), c)
            h = hidden_state(A, c)
            outputs.append(A + h if self.residual else h)
            cells.append(c)
        state = LayerState(h, c, x_normed[-1], e_normed[-1])
        if not self.spatial_mix.temporal_shift:
            state = LayerState(h, c, None, None)
        return torch.stack(outputs), cells, state


def initial_state(x: Tensor) -> LayerState:
    """Nothing remembered, for frames ``x`` of shape ``(T, B, L, D)``."""
    zeros = x.new_zeros(
        x.shape[1:], dtype=torch.promote_types(x.dtype, torch.float32))
    return LayerState(zeros, zeros, None, None)
