# Copyright (c) The mmlcr authors. All rights reserved.
"""A Cross RWKV layer, eqs. (3) to (10).

Keys, values and the forget gate depend only on the edge prompt; receptance and
output gate also need the previous hidden state.
"""
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmaction.registry import MODELS
from mmlcr.ops import bi_wkv, rotate
from .cell import Cell, hidden_state
from .common import (
    FASTEST_DECAY,
    SLOWEST_DECAY,
    Geometry,
    LayerState,
    Prompt,
    build_forget_gate,
    log_decay,
    mix,
)


@MODELS.register_module()
class CrossRWKVLayer(BaseModule):
    """A Cross RWKV layer, eqs. (3) to (10); ``forward`` runs one frame.

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        hidden_rate (float): Inner width of the channel mix, relative to
            ``D``.
        temporal_shift (bool): Whether the difference to the previous frame
            is concatenated to the inputs of eqs. (4) and (5).
        cell (Cell): LSTM cell, eq. (9).
        residual (bool): Whether the output is ``A + h`` instead of the
            paper's ``h``. Defaults to False.
    """

    needs_outer_norms = False

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 hidden_rate: float,
                 temporal_shift: bool,
                 cell: Cell,
                 residual: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temporal_shift = temporal_shift
        self.residual = residual
        self.cell = cell
        D, H, inner = embed_dims, num_heads, int(hidden_rate * embed_dims)
        inputs = 2 * D if temporal_shift else D
        self.norm_x = nn.LayerNorm(D)
        self.norm_h = nn.LayerNorm(D)
        self.mu_x = nn.Parameter(torch.full((D, ), 0.5))
        self.mu_e = nn.Parameter(torch.full((D, ), 0.5))
        # rows: receptance, gate, eq. (4); key, value, eq. (5)
        self.receptance_gate = nn.Linear(inputs + D, 2 * D, bias=False)
        self.key_value = nn.Linear(inputs, 2 * D, bias=False)
        self.decay = nn.Parameter(
            torch.linspace(SLOWEST_DECAY, FASTEST_DECAY, D // H).repeat(H, 1))
        self.bonus = nn.Parameter(torch.full((H, D // H), 0.5))
        self.norm_y = nn.GroupNorm(H, D)
        self.output = nn.Linear(D, D, bias=False)

        self.norm_a = nn.LayerNorm(D)
        self.mu_a = nn.Parameter(torch.full((D, ), 0.5))
        # rows: receptance, key, eq. (8)
        self.receptance_key = nn.Linear(D, D + inner, bias=False)
        self.value = nn.Linear(inner, D, bias=False)
        self.forget = build_forget_gate(D, cell)

    def forward(self, x: Tensor, prompt: Prompt, state: LayerState,
                geometry: Geometry) -> Tuple[Tensor, LayerState]:
        """Process one frame.

        Args:
            x (Tensor): Frame tokens, or the output of the layer below,
                ``(B, L, D)``.
            prompt (Prompt): The edge prompt of the frame.
            state (LayerState): State after the previous frame. Before the
                first one it is :meth:`LayerState.zeros`, whose ``x`` is None.
            geometry (Geometry): Positions of the tokens.

        Returns:
            tuple[Tensor, LayerState]: Output, ``(B, L, D)``, and the state
            after the frame.
        """
        h, c, x_before = state
        D, heads = x.shape[-1], self.bonus.shape
        x_norm = self.norm_x(x)
        x_in = mix(x_norm, geometry.shift, self.mu_x)  # eq. (3)
        e_in = mix(prompt.normed, geometry.shift, self.mu_e)
        if self.temporal_shift:
            if x_before is None:
                x_before = x_norm
            x_in = torch.cat([x_in, x_norm - x_before.to(x_norm.dtype)], -1)
            assert prompt.before is not None
            e_in = torch.cat([e_in, prompt.normed - prompt.before], -1)
        past = self.norm_h(h.to(x_norm.dtype))
        r, g = self.receptance_gate(
            torch.cat([x_in, past.to(x_in.dtype)], -1)).chunk(2, -1)  # eq. (4)
        k, v = self.key_value(e_in).chunk(2, -1)  # eq. (5)

        r, k, v = (t.unflatten(-1, heads) for t in (r, k, v))
        r, k = (rotate(t, geometry.rotation) for t in (r, k))
        w = log_decay(self.decay)
        y = bi_wkv(r, k, v, w, self.bonus, check_values=False)  # eq. (6)
        y = self.norm_y(y.reshape(-1, D)).view_as(x)
        a = x + self.output(F.silu(g) * y.to(g.dtype))  # eq. (7)

        a_in = mix(self.norm_a(a), geometry.shift, self.mu_a)
        r, k = self.receptance_key(a_in).tensor_split([D], -1)
        A = a + torch.sigmoid(r) * self.value(F.relu(k)**2)  # eq. (8)

        A = A.to(c.dtype)  # the state stays in float32 under autocast
        f = self.cell.activate(self.forget(prompt.e))
        c = self.cell(A, f.to(c.dtype), c)  # eq. (9)
        h = hidden_state(A, c)  # eq. (10)
        output = A + h if self.residual else h
        return output, LayerState(h, c,
                                  x_norm if self.temporal_shift else None)
