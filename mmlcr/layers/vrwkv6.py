# Copyright (c) The mmlcr authors. All rights reserved.
"""A layer of Vision-RWKV (RWKV-6) with LCR's LSTM cell.

Vision-RWKV (arXiv 2403.02308) with the data-dependent mixing and decay of
RWKV-6 (arXiv 2404.05892), as in its published image models, is a residual
network. The weights that connect it to the LSTM cell start at zero, so that a
model with pretrained weights initially computes the same as the image model:

- the input of keys, values and decays is that of the layer plus a projection
  of the edge prompt; receptance and gate also depend on the previous hidden
  state; all of them depend on differences to the previous frame;
- the output is ``A + s h``, the residual token plus the scaled hidden state.

Those models have no class token. Here the CLS token reads the patches, but
its own key is zero, so that the patches do not read it.
"""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmaction.registry import MODELS
from mmlcr.ops import bi_wkv_tokens, rotate
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

# ranks of the data-dependent parts of the mixes and of the decays
MIX_RANK, DECAY_RANK = 32, 64
BRANCHES = 'decay', 'key', 'value', 'receptance', 'gate'  # each has a mix
PROMPT_BRANCHES = 3  # number of branches, from the first, with edge prompt


@MODELS.register_module()
class VRWKV6Layer(BaseModule):
    """A layer of Vision-RWKV (RWKV-6) with LCR's LSTM cell.

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        hidden_rate (float): Inner width of the channel mix, relative to
            ``D``.
        temporal_shift (bool): Whether differences to the previous frame are
            used.
        cell (Cell): LSTM cell, eq. (9).
        layer_scale (float, optional): Initial scale of both branches.
            Defaults to None: no scales.
        post_norm (bool): Whether the norms come after the branches instead of
            before. Defaults to False.
    """

    needs_outer_norms = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 hidden_rate: float,
                 temporal_shift: bool,
                 cell: Cell,
                 layer_scale: Optional[float] = None,
                 post_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temporal_shift = temporal_shift
        self.post_norm = post_norm
        self.cell = cell
        D, H, inner = embed_dims, num_heads, int(hidden_rate * embed_dims)
        branches = len(BRANCHES)

        def matrix(outputs: int, inputs: int, zero: bool = False) -> nn.Linear:
            linear = nn.Linear(inputs, outputs, bias=False)
            if zero:
                nn.init.zeros_(linear.weight)
            return linear

        def scale() -> Optional[nn.Parameter]:
            if layer_scale is None:
                return None
            return nn.Parameter(torch.full((D, ), float(layer_scale)))

        self.norm_x = nn.LayerNorm(D)
        self.mu_base = nn.Parameter(torch.full((D, ), 0.5))
        self.mu = nn.Parameter(torch.full((branches, D), 0.5))
        self.mix_down = matrix(branches * MIX_RANK, D)
        self.mix_up = nn.Parameter(torch.zeros(branches, MIX_RANK, D))
        self.decay = nn.Parameter(
            torch.linspace(SLOWEST_DECAY, FASTEST_DECAY, D // H).repeat(H))
        self.decay_down = matrix(DECAY_RANK, D)
        self.decay_up = matrix(D, DECAY_RANK, zero=True)
        self.bonus = nn.Parameter(torch.full((H, D // H), 0.5))
        self.key, self.value = matrix(D, D), matrix(D, D)
        self.receptance, self.gate = matrix(D, D), matrix(D, D)
        self.prompt = matrix(D, D, zero=True)
        self.change = matrix(2 * D, D, zero=True) if temporal_shift else None
        self.norm_h = nn.LayerNorm(D)
        self.past = matrix(2 * D, 2 * D if temporal_shift else D, zero=True)
        self.norm_y = nn.GroupNorm(H, D)
        self.output = matrix(D, D)
        self.scale_x = scale()

        self.norm_a = nn.LayerNorm(D)
        self.mu_receptance = nn.Parameter(torch.full((D, ), 0.5))
        self.mu_key = nn.Parameter(torch.full((D, ), 0.5))
        self.channel_receptance = matrix(D, D)
        self.channel_key = matrix(inner, D)
        self.channel_value = matrix(D, inner)
        self.scale_a = scale()
        self.forget = build_forget_gate(D, cell)
        self.memory_scale = nn.Parameter(torch.zeros(D))

    def forward(self, x: Tensor, prompt: Prompt, state: LayerState,
                geometry: Geometry) -> Tuple[Tensor, LayerState]:
        """Process one frame; see :meth:`CrossRWKVLayer.forward`."""
        h, c, x_before = state
        x_in = x if self.post_norm else self.norm_x(x)
        past = self.norm_h(h.to(x_in.dtype)).to(x_in.dtype)
        mixed = self._spatial_mix(x_in, x_before, past, prompt, geometry)
        a = x + self._branch(mixed, self.norm_x, self.scale_x)  # eq. (7)
        a_in = a if self.post_norm else self.norm_a(a)
        mixed = self._channel_mix(a_in, geometry)
        A = a + self._branch(mixed, self.norm_a, self.scale_a)  # eq. (8)

        A = A.to(c.dtype)  # the state stays in float32 under autocast
        f = self.cell.activate(self.forget(prompt.e))
        c = self.cell(A, f.to(c.dtype), c)  # eq. (9)
        h = hidden_state(A, c)  # eq. (10)
        return A + self.memory_scale * h, LayerState(
            h, c, x_in if self.temporal_shift else None)

    def _branch(self, branch: Tensor, norm: nn.Module,
                scale: Optional[Tensor]) -> Tensor:
        """Apply the optional norm and scale to a branch's output."""
        if self.post_norm:
            branch = norm(branch)
        return branch if scale is None else branch * scale

    def _spatial_mix(self, x: Tensor, x_before: Optional[Tensor],
                     past: Tensor, prompt: Prompt,
                     geometry: Geometry) -> Tensor:
        """Compute the branch of equation (7), ``(B, L, D)``."""
        D, heads = x.shape[-1], self.bonus.shape
        e = x + self.prompt(prompt.normed)
        shares = torch.cat([
            self._mix_shares(e, geometry, slice(PROMPT_BRANCHES)),
            self._mix_shares(x, geometry, slice(PROMPT_BRANCHES, None))
        ])
        base = [e] * PROMPT_BRANCHES + [x] * (len(BRANCHES) - PROMPT_BRANCHES)
        d_in, k_in, v_in, r_in, g_in = (  # eq. (3)
            t + (geometry.shift(t) - t) * share.to(t.dtype)
            for t, share in zip(base, shares))
        r, g = self.receptance(r_in), self.gate(g_in)
        k, v = self.key(k_in), self.value(v_in)
        if self.change is not None:  # temporal difference
            difference = x - (x if x_before is None else x_before.to(x.dtype))
            past = torch.cat([difference, past], -1)
            assert prompt.before is not None
            change = difference + self.prompt(prompt.normed - prompt.before)
            k_change, v_change = self.change(change).chunk(2, -1)
            k, v = k + k_change, v + v_change
        r_past, g_past = self.past(past).chunk(2, -1)
        r, g = r + r_past, g + g_past  # eq. (4)
        k = F.pad(k[..., :-1, :], (0, 0, 0, 1))  # zero key of CLS

        delta = self.decay_up(torch.tanh(self.decay_down(d_in)))
        w = log_decay(self.decay + delta.to(self.decay.dtype))
        r, k, v, w = (t.unflatten(-1, heads) for t in (r, k, v, w))
        r, k = (rotate(t, geometry.rotation) for t in (r, k))
        y = bi_wkv_tokens(r, k, v, w, self.bonus)  # eq. (6)
        y = self.norm_y(y.reshape(-1, D)).view_as(x)
        return self.output(F.silu(g) * y.to(g.dtype))

    def _mix_shares(self, x: Tensor, geometry: Geometry,
                    branches: slice) -> Tensor:
        """Compute RWKV-6's data-dependent weights of the neighbours.

        Returns:
            Tensor: Weights of some branches, shape ``(branches, B, L, D)``.
        """
        base = mix(x, geometry.shift, self.mu_base)
        low = torch.tanh(self.mix_down(base)).unflatten(
            -1, (len(BRANCHES), -1))[..., branches, :]
        shares = torch.einsum('blmr,mrd->mbld', low,
                              self.mix_up[branches].to(low.dtype))
        return shares + self.mu[branches, None, None]

    def _channel_mix(self, a: Tensor, geometry: Geometry) -> Tensor:
        """Compute the branch of equation (8), ``(B, L, D)``."""
        r = self.channel_receptance(
            mix(a, geometry.shift, self.mu_receptance))
        k = self.channel_key(mix(a, geometry.shift, self.mu_key))
        return torch.sigmoid(r) * self.channel_value(F.relu(k)**2)
