# Copyright (c) The mmlcr authors. All rights reserved.
"""Several of Vision-RWKV's layers at once, with packed weights.

As in :mod:`mmlcr.backends.eager.cross_rwkv`, ``n`` layers are side by side,
``(n, B, L, D)``, each at a frame of its own.
"""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlcr.layers import LayerState, Prompt, VRWKV6Layer
from mmlcr.layers.cell import hidden_state
from mmlcr.layers.common import log_decay
from mmlcr.layers.vrwkv6 import BRANCHES, OF_PROMPT
from mmlcr.ops import Neighbours, bi_wkv_tokens, rotate
from mmlcr.ops.batched import layer_norm, linear, narrow, stack
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
    """The weights of some layers side by side, each ``(n, ...)``."""
    norm_x: Tensor  # (D,), as all norms, biases and scales
    norm_x_bias: Tensor
    mu_base: Tensor  # (D,), the mix that all other mixes depend on
    mu: Tensor  # (5, D), by branch
    mix_down: Tensor  # (5 * MIX_RANK, D)
    mix_up: Tensor  # (5, MIX_RANK, D)
    decay: Tensor  # (D,), log(-w) before a token adds to it
    decay_down: Tensor  # (DECAY_RANK, D)
    decay_up: Tensor  # (D, DECAY_RANK)
    bonus: Tensor  # (H, K)
    key: Tensor  # (D, D), as all matrices without a comment
    value: Tensor
    receptance: Tensor
    gate: Tensor
    prompt: Tensor  # for the edge prompt, beside the layer's input
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
        """Stack the weights of ``n`` layers, for any number of tokens."""
        return stack([_weights(layer) for layer in layers])

    @property
    def num_layers(self) -> int:
        """Layers ``n``."""
        return len(self.mu)

    def prepack(self) -> 'VRWKV6Weights':
        """The same with matrices in the order that products read them in."""
        return VRWKV6Weights(*map(transposed, self))

    def narrow(self, start: int, stop: int) -> 'VRWKV6Weights':
        """The weights of some of the layers."""
        return narrow(self, start, stop)

    def run_step(self, wrap: Wrap, x: Tensor, prompt: Prompt,
                 state: LayerState,
                 spec: StackSpec) -> Tuple[Tensor, LayerState]:
        """A frame for each layer; ``wrap`` may compile the function."""
        return wrap(layer_step)(self, x, prompt, state, spec)


def _weights(layer: VRWKV6Layer) -> VRWKV6Weights:
    heads = layer.bonus.shape
    change = None
    if layer.change is not None:
        of_key, of_value = layer.change.weight.chunk(2)
        change = torch.cat([of_key, centred(of_value, heads)])
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
    """One frame of each of ``n`` layers.

    Args:
        weights (VRWKV6Weights): Of ``n`` layers.
        x (Tensor): Input of each layer, ``(n, B, L, D)``.
        prompt (Prompt): Of a frame for each.
        state (LayerState): Of each layer after its previous frame, stacked.
            Layers that meet their first frame have no ``x`` yet, and come
            last.
        spec (StackSpec): Options and geometry.

    Returns:
        tuple[Tensor, LayerState]: Input of the next layers, of the shape of
        ``x``, and the states after these frames.
    """
    h, c, before = state
    cell, post_norm = spec.cell, spec.post_norm
    norm_x = weights.norm_x, weights.norm_x_bias
    norm_a = weights.norm_a, weights.norm_a_bias

    def added(branch: Tensor, norm: Tuple[Tensor, Tensor],
              scale: Optional[Tensor]) -> Tensor:
        if post_norm:
            branch = layer_norm(branch, *norm)
        return branch if scale is None else branch * scale[:, None, None]

    read = x if post_norm else layer_norm(x, *norm_x)
    mixed = _spatial_mix(weights, read, h, before, prompt, spec)
    a = x + added(mixed, norm_x, weights.scale_x)  # eq. (7)
    read_a = a if post_norm else layer_norm(a, *norm_a)
    mixed = _channel_mix(weights, read_a, spec.neighbours)
    A = a + added(mixed, norm_a, weights.scale_a)  # eq. (8)
    gate = forget_gate(cell, prompt.e, weights.forget, weights.forget_bias)
    A = A.to(c.dtype)  # the memory stays in float32 under autocast
    c = cell(A, gate.to(c.dtype), c)  # eq. (9)
    h = hidden_state(A, c)  # eq. (10)
    output = A + weights.memory_scale[:, None, None] * h
    return output, LayerState(h, c, read if spec.temporal_shift else None)


def _spatial_mix(weights: VRWKV6Weights, x: Tensor, h: Tensor,
                 before: Optional[Tensor], prompt: Prompt,
                 spec: StackSpec) -> Tensor:
    """Equations (3) to (7), but the sum."""
    heads = weights.bonus.shape[-2:]
    e = x + linear(prompt.normed, weights.prompt)
    of_decay, of_key, of_value = _mixes(e, weights, slice(OF_PROMPT),
                                        spec.neighbours)
    of_receptance, of_gate = _mixes(x, weights, slice(OF_PROMPT, None),
                                    spec.neighbours)
    r = linear(of_receptance, weights.receptance)
    g = linear(of_gate, weights.gate)
    k, v = linear(of_key, weights.key), linear(of_value, weights.value)

    past = layer_norm(h, weights.norm_h, weights.norm_h_bias)
    if weights.change is not None:
        assert prompt.before is not None
        difference = spec.neighbours.difference(x, before)
        past = torch.cat([difference, past], dim=-1)
        difference = difference + linear(prompt.normed - prompt.before,
                                         weights.prompt)
        of_k, of_v = linear(difference, weights.change).chunk(2, dim=-1)
        k, v = k + of_k, v + of_v
    of_r, of_g = linear(past, weights.past).chunk(2, dim=-1)
    r, g = r + of_r, g + of_g
    k = F.pad(k[..., :-1, :], (0, 0, 0, 1))  # CLS is not read

    r, k, v = (t.unflatten(-1, heads) for t in (r, k, v))
    y = bi_wkv_tokens(
        rotate(r, spec.rotation), rotate(k, spec.rotation), v,
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
    return log_decay(weights.decay[:, None, None].to(wide) + added.to(wide))


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
