# Copyright (c) The mmlcr authors. All rights reserved.
"""A layer that computes what one of Vision-RWKV (RWKV-6) does, and remembers.

Vision-RWKV (arXiv 2403.02308) with the data-dependent mixing and decay of
RWKV-6 (arXiv 2404.05892), as in its published image models, is a residual
stack: a token stays, and each layer adds to it. LCR's memory joins it by
weights that start at zero, so that weights of such a model go on with what
they learned:

- keys, values and decays read the layer's own input plus a projection of the
  edge prompt; receptance and gate read the input, and by columns of their own
  the memory; both read differences to the previous frame;
- the next layer reads ``A + s h``: the stack's token, and what is remembered.

The class token, which those models have not, reads and is not read.

As in :mod:`mmlcr.layers.cross_rwkv`, ``n`` layers are side by side,
``(n, B, L, D)``, each at a frame of its own.
"""
from typing import TYPE_CHECKING, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlcr.ops import bi_wkv_tokens
from .cell import Cell, hidden_state
from .cross_rwkv import (
    FASTEST_DECAY,
    SLOWEST_DECAY,
    STRONGEST_DECAY,
    FramePrompt,
    Geometry,
    LayerState,
    Prompt,
    Surroundings,
    centred,
    forget_gate,
    gate_weights,
    log_decay,
    mix,
    norm_heads,
    transposed,
)
from .rotary import rotate
from .stacked import layer_norm, linear, narrow, stack
from .token_shift import Neighbours

if TYPE_CHECKING:
    from .functions import Functions

# ranks of what tokens add to the shares of their neighbours and to decays
MIX_RANK, DECAY_RANK = 32, 64
BRANCHES = 'decay', 'key', 'value', 'receptance', 'gate'  # each with a mix
OF_PROMPT = 3  # the first of them read the edge prompt, too


class VRWKV6Weights(NamedTuple):
    """The weights of some layers side by side, each ``(n, ...)``."""
    norm_x: Tensor  # (D,), as all norms, biases and scales
    norm_x_bias: Tensor
    mu_base: Tensor  # (D,), of the mix that all other mixes depend on
    mu: Tensor  # (5, D), by branch
    mix_down: Tensor  # (5 * MIX_RANK, D)
    mix_up: Tensor  # (5, MIX_RANK, D)
    decay: Tensor  # (D,), log(-w) before a token adds to it
    decay_down: Tensor  # (DECAY_RANK, D)
    decay_up: Tensor  # (D, DECAY_RANK)
    bonus: Tensor  # (H, K)
    key: Tensor  # (D, D), as all that are not said to be otherwise
    value: Tensor
    receptance: Tensor
    gate: Tensor
    prompt: Tensor  # of the edge prompt, beside the layer's input
    change: Optional[Tensor]  # (2D, D), differences to key and value
    norm_h: Tensor
    norm_h_bias: Tensor
    past: Tensor  # (2D, D or 2D), (difference and) memory to receptance, gate
    norm_y: Tensor
    norm_y_bias: Tensor
    output: Tensor
    scale_x: Optional[Tensor]
    norm_a: Tensor
    norm_a_bias: Tensor
    mu_receptance: Tensor  # (D,), of the channel mix
    mu_key: Tensor
    channel_receptance: Tensor
    channel_key: Tensor  # (inner, D)
    channel_value: Tensor  # (D, inner)
    scale_a: Optional[Tensor]
    forget: Optional[Tensor]
    forget_bias: Optional[Tensor]
    memory_scale: Tensor  # (D,), of h in what the next layer reads

    @classmethod
    def of(cls, layers: Sequence['VRWKV6Layer']) -> 'VRWKV6Weights':
        """Stack those of ``n`` layers."""
        return stack([layer.weights() for layer in layers])

    @property
    def num_layers(self) -> int:
        """Layers ``n``."""
        return len(self.mu)

    def layers(self, start: int, stop: int) -> 'VRWKV6Weights':
        """Those of some layers."""
        return narrow(self, start, stop)

    def laid_out(self) -> 'VRWKV6Weights':
        """The same, matrices in the order that products read them in."""
        return VRWKV6Weights(*map(transposed, self))

    def step(self, functions: 'Functions', x: Tensor, prompt: Prompt,
             state: LayerState,
             around: Surroundings) -> Tuple[Tensor, LayerState]:
        """See :func:`pass_through`."""
        return functions.pass_through(self, x, prompt, state, around)


class VRWKV6Layer(BaseModule):
    """The weights of a layer.

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        hidden_rate (float): Inner width of the channel mix over ``D``.
        temporal_shift (bool): Whether differences to the previous frame are
            read.
        cell (Cell): The memory, eq. (9).
        layer_scale (float, optional): What the scales of both branches begin
            with. Defaults to None: there are none.
        post_norm (bool): Whether the norms come after the branches instead of
            before. Defaults to False.
    """

    def __init__(self, embed_dims: int, num_heads: int, hidden_rate: float,
                 temporal_shift: bool, cell: Cell,
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
        self.forget = forget_gate(D, cell)
        self.memory_scale = nn.Parameter(torch.zeros(D))

    def forward(self, x: Tensor, prompt: FramePrompt, state: LayerState,
                geometry: Geometry) -> Tuple[Tensor, LayerState]:
        """Read one frame; as :meth:`mmlcr.layers.CrossRWKVLayer.forward`."""
        h, c, x_before = state
        x_in = x if self.post_norm else self.norm_x(x)
        past = self.norm_h(h.to(x_in.dtype)).to(x_in.dtype)
        mixed = self._spatial_mix(x_in, x_before, past, prompt, geometry)
        a = x + self._branch(mixed, self.norm_x, self.scale_x)  # eq. (7)
        a_in = a if self.post_norm else self.norm_a(a)
        mixed = self._channel_mix(a_in, geometry)
        A = a + self._branch(mixed, self.norm_a, self.scale_a)  # eq. (8)

        A = A.to(c.dtype)  # the memory stays in float32 under autocast
        f = self.cell.activate(self.forget(prompt.e))
        c = self.cell(A, f.to(c.dtype), c)  # eq. (9)
        h = hidden_state(A, c)  # eq. (10)
        return A + self.memory_scale * h, LayerState(
            h, c, x_in if self.temporal_shift else None)

    def _branch(self, branch: Tensor, norm: nn.Module,
                scale: Optional[Tensor]) -> Tensor:
        """What a branch adds: normed and scaled where the options say so."""
        if self.post_norm:
            branch = norm(branch)
        return branch if scale is None else branch * scale

    def _spatial_mix(self, x: Tensor, x_before: Optional[Tensor],
                     past: Tensor, prompt: FramePrompt,
                     geometry: Geometry) -> Tensor:
        """The branch of eq.

        (7), ``(B, L, D)``.
        """
        D, heads = x.shape[-1], self.bonus.shape
        e = x + self.prompt(prompt.normed)
        shares = torch.cat([
            self._mix_shares(e, geometry)[:OF_PROMPT],
            self._mix_shares(x, geometry)[OF_PROMPT:]
        ])
        base = [e] * OF_PROMPT + [x] * (len(BRANCHES) - OF_PROMPT)
        d_in, k_in, v_in, r_in, g_in = (  # eq. (3)
            t + (geometry.shift(t) - t) * share.to(t.dtype)
            for t, share in zip(base, shares))
        r, g = self.receptance(r_in), self.gate(g_in)
        k, v = self.key(k_in), self.value(v_in)
        if self.change is not None:  # temporal difference
            difference = x - (x if x_before is None else x_before.to(x.dtype))
            past = torch.cat([difference, past], -1)
            change = difference + self.prompt(prompt.normed - prompt.before)
            k_change, v_change = self.change(change).chunk(2, -1)
            k, v = k + k_change, v + v_change
        r_past, g_past = self.past(past).chunk(2, -1)
        r, g = r + r_past, g + g_past  # eq. (4)
        k = F.pad(k[..., :-1, :], (0, 0, 0, 1))  # CLS reads and is not read

        added = self.decay_up(torch.tanh(self.decay_down(d_in)))
        w = log_decay(self.decay + added.to(self.decay.dtype))
        r, k, v, w = (t.unflatten(-1, heads) for t in (r, k, v, w))
        r, k = (rotate(t, geometry.rotation) for t in (r, k))
        y = bi_wkv_tokens(r, k, v, w, self.bonus)  # eq. (6)
        y = self.norm_y(y.reshape(-1, D)).view_as(x)
        return self.output(F.silu(g) * y.to(g.dtype))

    def _mix_shares(self, x: Tensor, geometry: Geometry) -> Tensor:
        """RWKV-6's data-dependent shares of the neighbours, (5, B, L, D)."""
        base = mix(x, geometry.shift, self.mu_base)
        low = torch.tanh(self.mix_down(base)).unflatten(
            -1, (len(BRANCHES), -1))
        shares = torch.einsum('blmr,mrd->mbld', low,
                              self.mix_up.to(low.dtype))
        return shares + self.mu[:, None, None]

    def _channel_mix(self, a: Tensor, geometry: Geometry) -> Tensor:
        """The branch of eq.

        (8), ``(B, L, D)``.
        """
        r = self.channel_receptance(
            mix(a, geometry.shift, self.mu_receptance))
        k = self.channel_key(mix(a, geometry.shift, self.mu_key))
        return torch.sigmoid(r) * self.channel_value(F.relu(k)**2)

    def weights(self) -> VRWKV6Weights:
        """All of them; of values without a mean along a head."""
        heads = self.bonus.shape
        change = None
        if self.change is not None:
            of_key, of_value = self.change.weight.chunk(2)
            change = torch.cat([of_key, centred(of_value, heads)])
        return VRWKV6Weights(
            self.norm_x.weight, self.norm_x.bias, self.mu_base, self.mu,
            self.mix_down.weight, self.mix_up, self.decay,
            self.decay_down.weight, self.decay_up.weight, self.bonus,
            self.key.weight, centred(self.value.weight, heads),
            self.receptance.weight, self.gate.weight, self.prompt.weight,
            change, self.norm_h.weight, self.norm_h.bias, self.past.weight,
            self.norm_y.weight, self.norm_y.bias, self.output.weight,
            self.scale_x, self.norm_a.weight, self.norm_a.bias,
            self.mu_receptance, self.mu_key, self.channel_receptance.weight,
            self.channel_key.weight, self.channel_value.weight, self.scale_a,
            *gate_weights(self.forget), self.memory_scale)


def pass_through(weights: VRWKV6Weights, x: Tensor, prompt: Prompt,
                 state: LayerState,
                 around: Surroundings) -> Tuple[Tensor, LayerState]:
    """A frame's passage through a layer, of ``n`` layers side by side.

    Args:
        weights (VRWKV6Weights): Of ``n`` layers.
        x (Tensor): What each of them reads, ``(n, B, L, D)``.
        prompt (Prompt): Of a frame for each.
        state (LayerState): Of each after its frame before, stacked. Layers
            that meet their first frame have no ``x`` yet, and come last.
        around (Surroundings): All else.

    Returns:
        tuple[Tensor, LayerState]: What the next layers read, of the shape of
        ``x``, and the states after these frames.
    """
    h, c, before = state
    cell, post_norm = around.cell, around.post_norm
    norm_x = weights.norm_x, weights.norm_x_bias
    norm_a = weights.norm_a, weights.norm_a_bias

    def added(branch: Tensor, norm: Tuple[Tensor, Tensor],
              scale: Optional[Tensor]) -> Tensor:
        if post_norm:
            branch = layer_norm(branch, *norm)
        return branch if scale is None else branch * scale[:, None, None]

    read = x if post_norm else layer_norm(x, *norm_x)
    mixed = _spatial_mix(weights, read, h, before, prompt, around)
    a = x + added(mixed, norm_x, weights.scale_x)  # eq. (7)
    read_a = a if post_norm else layer_norm(a, *norm_a)
    mixed = _channel_mix(weights, read_a, around.neighbours)
    A = a + added(mixed, norm_a, weights.scale_a)  # eq. (8)
    gate = cell.gate(prompt.e, weights.forget, weights.forget_bias)
    A = A.to(c.dtype)  # the state's float32
    c = cell(A, gate.to(c.dtype), c)  # eq. (9)
    h = hidden_state(A, c)  # eq. (10)
    output = A + weights.memory_scale[:, None, None] * h
    return output, LayerState(h, c, read if around.temporal_shift else None)


def _spatial_mix(weights: VRWKV6Weights, x: Tensor, h: Tensor,
                 before: Optional[Tensor], prompt: Prompt,
                 around: Surroundings) -> Tensor:
    """Equations (3) to (7), but the sum."""
    heads = weights.bonus.shape[-2:]
    e = x + linear(prompt.normed, weights.prompt)
    of_decay, of_key, of_value = _mixes(e, weights, slice(OF_PROMPT),
                                        around.neighbours)
    of_receptance, of_gate = _mixes(x, weights, slice(OF_PROMPT, None),
                                    around.neighbours)
    r = linear(of_receptance, weights.receptance)
    g = linear(of_gate, weights.gate)
    k, v = linear(of_key, weights.key), linear(of_value, weights.value)

    past = layer_norm(h, weights.norm_h, weights.norm_h_bias)
    if weights.change is not None:
        assert prompt.before is not None
        difference = around.neighbours.difference(x, before)
        past = torch.cat([difference, past], dim=-1)
        difference = difference + linear(prompt.normed - prompt.before,
                                         weights.prompt)
        of_k, of_v = linear(difference, weights.change).chunk(2, dim=-1)
        k, v = k + of_k, v + of_v
    of_r, of_g = linear(past, weights.past).chunk(2, dim=-1)
    r, g = r + of_r, g + of_g
    k = F.pad(k[..., :-1, :], (0, 0, 0, 1))  # nobody reads CLS

    r, k, v = (t.unflatten(-1, heads) for t in (r, k, v))
    y = bi_wkv_tokens(
        rotate(r, around.rotation), rotate(k, around.rotation), v,
        _log_decays(of_decay, weights).unflatten(-1, heads), weights.bonus)
    y = norm_heads(y, weights.norm_y, weights.norm_y_bias).flatten(-2)
    return linear(F.silu(g) * y.to(g.dtype), weights.output)


def _mixes(x: Tensor, weights: VRWKV6Weights, which: slice,
           neighbours: Neighbours) -> Tuple[Tensor, ...]:
    """Tokens with their neighbours, by shares that depend on both.

    RWKV-6's data-dependent mix: a share of the neighbours is ``mu`` plus a
    function of low rank of the token mixed by ``mu_base``.
    """
    step = neighbours.shift(x) - x
    base = x + step * weights.mu_base[:, None, None]
    down = weights.mix_down.unflatten(1, (len(BRANCHES), -1))[:, which]
    up, mu = weights.mix_up[:, which], weights.mu[:, which]
    low = torch.tanh(linear(base, down.flatten(1, 2)))
    low = low.unflatten(-1, down.shape[1:3])  # (n, B, L, branches, rank)
    shares = torch.einsum('nblmr,nmrd->mnbld', low, up)
    shares = shares + mu.transpose(0, 1)[:, :, None, None]
    return torch.addcmul(x, step, shares.to(x.dtype)).unbind()


def _log_decays(x: Tensor, weights: VRWKV6Weights) -> Tensor:
    """Of each token and channel, in float32 or wider."""
    added = linear(torch.tanh(linear(x, weights.decay_down)), weights.decay_up)
    wide = torch.promote_types(added.dtype, torch.float32)
    strength = weights.decay[:, None, None].to(wide) + added.to(wide)
    return -torch.exp(strength.clamp(max=STRONGEST_DECAY))


def _channel_mix(weights: VRWKV6Weights, a: Tensor,
                 neighbours: Neighbours) -> Tensor:
    """Equation (8) but the sum, receptance and key with a mix each."""
    shifted = neighbours.shift(a)
    of_receptance, of_key = (
        torch.lerp(a, shifted, mu[:, None, None].to(a.dtype))
        for mu in (weights.mu_receptance, weights.mu_key))
    r = linear(of_receptance, weights.channel_receptance)
    k = F.relu(linear(of_key, weights.channel_key))
    return torch.sigmoid(r) * linear(k * k, weights.channel_value)
