# Copyright (c) The mmlcr authors. All rights reserved.
"""Several of Vision-RWKV's layers at once, with packed weights.

As in :mod:`mmlcr.backends.eager.cross_rwkv`, ``n`` layers are stacked,
``(n, B, L, D)``, each at its own frame.
"""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlcr.layers import LayerState, Prompt, VRWKV6Layer
from mmlcr.layers.cell import hidden_state
from mmlcr.layers.common import log_decay
from mmlcr.layers.vrwkv6 import BRANCHES, PROMPT_BRANCHES
from mmlcr.ops import Neighbours, bi_wkv_tokens, rotate
from mmlcr.ops.batched import layer_norm, linear, stack
from .spec import (
    StackSpec,
    Wrap,
    centred,
    forget_gate,
    gate_weights,
    norm_heads,
    transposed,
)


class VRWKV6Weights(NamedTuple):
    """The stacked weights of ``n`` layers, each ``(n, ...)``."""
    norm_x: Tensor  # (D,), like all norms, biases and scales
    norm_x_bias: Tensor
    mu_base: Tensor  # (D,), for the mix that all other mixes depend on
    mu: Tensor  # (5, D), by branch
    mix_down: Tensor  # (5 * MIX_RANK, D)
    mix_up: Tensor  # (5, MIX_RANK, D)
    decay: Tensor  # (D,), log(-w) without the data-dependent part
    decay_down: Tensor  # (DECAY_RANK, D)
    decay_up: Tensor  # (D, DECAY_RANK)
    bonus: Tensor  # (H, K)
    key: Tensor  # (D, D), like all matrices without a comment
    value: Tensor
    receptance: Tensor
    gate: Tensor
    prompt: Tensor  # for the edge prompt, added to the layer's input
    change: Optional[Tensor]  # (2D, D), from differences to key and value
    norm_h: Tensor
    norm_h_bias: Tensor
    past: Tensor  # (2D, D or 2D), to receptance, gate
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
    memory_scale: Tensor  # (D,), factor of h for the next layer

    @classmethod
    def pack(cls, layers: Sequence[VRWKV6Layer],
             num_tokens: int) -> 'VRWKV6Weights':
        """Stack the weights of layers, for any number of tokens."""
        return stack([_weights(layer) for layer in layers])

    @property
    def num_layers(self) -> int:
        """Number of layers ``n``."""
        return len(self.mu)

    def prepack(self) -> 'VRWKV6Weights':
        """Return a copy with the memory layout that is fastest to multiply."""
        return VRWKV6Weights(*map(transposed, self))

    def run_step(self, wrap: Wrap, x: Tensor, prompt: Prompt,
                 state: LayerState,
                 spec: StackSpec) -> Tuple[Tensor, LayerState]:
        """Run one frame of each layer; ``wrap`` may compile the function."""
        return wrap(layer_step)(self, x, prompt, state, spec)


def _weights(layer: VRWKV6Layer) -> VRWKV6Weights:
    heads = layer.bonus.shape
    change = None
    if layer.change is not None:
        key_change, value_change = layer.change.weight.chunk(2)
        change = torch.cat([key_change, centred(value_change, heads)])
    return VRWKV6Weights(
        layer.norm_x.weight, layer.norm_x.bias, layer.mu_base, layer.mu,
        layer.mix_down.weight, layer.mix_up, layer.decay,
        layer.decay_down.weight, layer.decay_up.weight, layer.bonus,
        layer.key.weight, centred(layer.value.weight, heads),
        layer.receptance.weight, layer.gate.weight, layer.prompt.weight,
        change, layer.norm_h.weight, layer.norm_h.bias, layer.past.weight,
        layer.norm_y.weight, layer.norm_y.bias, layer.output.weight,
        layer.scale_x, layer.norm_a.weight, layer.norm_a.bias,
        layer.mu_receptance, layer.mu_key, layer.channel_receptance.weight,
        layer.channel_key.weight, layer.channel_value.weight, layer.scale_a,
        *gate_weights(layer.forget), layer.memory_scale)


def layer_step(weights: VRWKV6Weights, x: Tensor, prompt: Prompt,
                 state: LayerState,
                 spec: StackSpec) -> Tuple[Tensor, LayerState]:
    """Run one frame of each of ``n`` layers.

    Args:
        weights (VRWKV6Weights): Weights of ``n`` layers.
        x (Tensor): Input of each layer, ``(n, B, L, D)``.
        prompt (Prompt): Prompt of each layer's frame.
        state (LayerState): Stacked states after each layer's previous frame.
            Layers at their first frame come last, and have no ``x`` yet.
        spec (StackSpec): Options and geometry.

    Returns:
        tuple[Tensor, LayerState]: Input of the next layers, of the shape of
        ``x``, and the states after these frames.
    """
    h, c, before = state
    cell, post_norm = spec.cell, spec.post_norm
    norm_x = weights.norm_x, weights.norm_x_bias
    norm_a = weights.norm_a, weights.norm_a_bias

    def branch_output(branch: Tensor, norm: Tuple[Tensor, Tensor],
                      scale: Optional[Tensor]) -> Tensor:
        if post_norm:
            branch = layer_norm(branch, *norm)
        return branch if scale is None else branch * scale[:, None, None]

    x_norm = x if post_norm else layer_norm(x, *norm_x)
    mixed = _spatial_mix(weights, x_norm, h, before, prompt, spec)
    a = x + branch_output(mixed, norm_x, weights.scale_x)  # eq. (7)
    a_norm = a if post_norm else layer_norm(a, *norm_a)
    mixed = _channel_mix(weights, a_norm, spec.neighbours)
    A = a + branch_output(mixed, norm_a, weights.scale_a)  # eq. (8)
    gate = forget_gate(cell, prompt.e, weights.forget, weights.forget_bias)
    A = A.to(c.dtype)  # the state stays in float32 under autocast
    c = cell(A, gate.to(c.dtype), c)  # eq. (9)
    h = hidden_state(A, c)  # eq. (10)
    output = A + weights.memory_scale[:, None, None] * h
    return output, LayerState(h, c, x_norm if spec.temporal_shift else None)


def _spatial_mix(weights: VRWKV6Weights, x: Tensor, h: Tensor,
                 before: Optional[Tensor], prompt: Prompt,
                 spec: StackSpec) -> Tensor:
    """Compute equations (3) to (7) without the residual sum."""
    heads = weights.bonus.shape[-2:]
    e = x + linear(prompt.normed, weights.prompt)
    decay_in, key_in, value_in = _data_dependent_mix(
        e, weights, slice(PROMPT_BRANCHES), spec.neighbours)
    receptance_in, gate_in = _data_dependent_mix(
        x, weights, slice(PROMPT_BRANCHES, None), spec.neighbours)
    r = linear(receptance_in, weights.receptance)
    g = linear(gate_in, weights.gate)
    k, v = linear(key_in, weights.key), linear(value_in, weights.value)

    past = layer_norm(h, weights.norm_h, weights.norm_h_bias)
    if weights.change is not None:
        assert prompt.before is not None
        difference = spec.neighbours.difference(x, before)
        past = torch.cat([difference, past], dim=-1)
        difference = difference + linear(prompt.normed - prompt.before,
                                         weights.prompt)
        k_change, v_change = linear(difference,
                                    weights.change).chunk(2, dim=-1)
        k, v = k + k_change, v + v_change
    r_past, g_past = linear(past, weights.past).chunk(2, dim=-1)
    r, g = r + r_past, g + g_past
    k = F.pad(k[..., :-1, :], (0, 0, 0, 1))  # CLS is not read

    r, k, v = (t.unflatten(-1, heads) for t in (r, k, v))
    y = bi_wkv_tokens(
        rotate(r, spec.rotation), rotate(k, spec.rotation), v,
        _log_decays(decay_in, weights).unflatten(-1, heads), weights.bonus)
    y = norm_heads(y, weights.norm_y, weights.norm_y_bias).flatten(-2)
    return linear(F.silu(g) * y.to(g.dtype), weights.output)


def _data_dependent_mix(x: Tensor, weights: VRWKV6Weights, branches: slice,
                        neighbours: Neighbours) -> Tuple[Tensor, ...]:
    """Mix tokens with their neighbours, by RWKV-6's data-dependent weights.

    The weight of the neighbours is ``mu`` plus a low-rank function of the
    token mixed by ``mu_base``.
    """
    step = neighbours.shift(x) - x
    base = x + step * weights.mu_base[:, None, None]
    down = weights.mix_down.unflatten(1, (len(BRANCHES), -1))[:, branches]
    up, mu = weights.mix_up[:, branches], weights.mu[:, branches]
    low = torch.tanh(linear(base, down.flatten(1, 2)))
    low = low.unflatten(-1, down.shape[1:3])  # (n, B, L, branches, rank)
    shares = torch.einsum('nblmr,nmrd->mnbld', low, up)
    shares = shares + mu.transpose(0, 1)[:, :, None, None]
    return torch.addcmul(x, step, shares.to(x.dtype)).unbind()


def _log_decays(x: Tensor, weights: VRWKV6Weights) -> Tensor:
    """Compute the log-decays of each token, in float32 or wider."""
    delta = linear(torch.tanh(linear(x, weights.decay_down)), weights.decay_up)
    wide = torch.promote_types(delta.dtype, torch.float32)
    return log_decay(weights.decay[:, None, None].to(wide) + delta.to(wide))


def _channel_mix(weights: VRWKV6Weights, a: Tensor,
                 neighbours: Neighbours) -> Tensor:
    """Compute equation (8) without the residual sum."""
    shifted = neighbours.shift(a)
    receptance_in, key_in = (
        torch.lerp(a, shifted, mu[:, None, None].to(a.dtype))
        for mu in (weights.mu_receptance, weights.mu_key))
    r = linear(receptance_in, weights.channel_receptance)
    k = F.relu(linear(key_in, weights.channel_key))
    return torch.sigmoid(r) * linear(k * k, weights.channel_value)
