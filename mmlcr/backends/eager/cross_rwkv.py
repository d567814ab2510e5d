# Copyright (c) The mmlcr authors. All rights reserved.
"""Several Cross RWKV layers at once, eqs. (3) to (10), with packed weights.

Layer ``i`` at frame ``t`` depends on layer ``i - 1`` at frame ``t`` and on
itself at frame ``t - 1``. So frame ``s - i`` of layer ``i`` can be computed
for many ``i`` at once. The functions here work on ``n`` layers, ``(n, B, L,
D)``, each at its own frame.

Keys, values and the forget gate depend only on the edge prompt
(:func:`project_prompt`); receptance and output gate also need the previous
hidden state (:func:`layer_step`).
"""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlcr.layers import CrossRWKVLayer, LayerState, Prompt
from mmlcr.layers.cell import hidden_state
from mmlcr.layers.common import log_decay
from mmlcr.ops import (
    BiWKVDecays,
    BiWKVMemory,
    Neighbours,
    bi_wkv_decays,
    bi_wkv_memory,
    bi_wkv_read,
    rotate,
)
from mmlcr.ops.batched import add_linear, layer_norm, linear, stack
from .spec import (
    StackSpec,
    Wrap,
    centred,
    forget_gate,
    gate_weights,
    norm_heads,
    transposed,
)


class PromptWeights(NamedTuple):
    """The weights of :func:`project_prompt`."""
    mu: Tensor  # (D,)
    key_value: Tensor  # (2D, D or 2D), for the prompt and its difference
    forget: Optional[Tensor]  # (D, D)
    forget_bias: Optional[Tensor]  # (D,)


class StepWeights(NamedTuple):
    """The weights of :func:`layer_step`."""
    norm_x: Tensor  # (D,), as all norms
    norm_x_bias: Tensor
    mu_x: Tensor  # (D,)
    norm_h: Tensor
    norm_h_bias: Tensor
    receptance_gate: Tensor  # (2D, 2D or 3D), for frame, its difference and h
    norm_y: Tensor
    norm_y_bias: Tensor
    output: Tensor  # (D, D)
    norm_a: Tensor
    norm_a_bias: Tensor
    mu_a: Tensor  # (D,)
    receptance_key: Tensor  # (D + inner, D)
    value: Tensor  # (D, inner)


class CrossRWKVWeights(NamedTuple):
    """The stacked weights of ``n`` layers, each ``(n, ...)``."""
    prompt: PromptWeights
    step: StepWeights
    decays: BiWKVDecays

    @classmethod
    def pack(cls, layers: Sequence[CrossRWKVLayer],
             num_tokens: int) -> 'CrossRWKVWeights':
        """Stack the weights of layers, for ``num_tokens`` per frame."""
        decay = torch.stack([layer.decay for layer in layers])
        bonus = torch.stack([layer.bonus for layer in layers])
        return cls(
            stack([_prompt_weights(layer) for layer in layers]),
            stack([_step_weights(layer) for layer in layers]),
            bi_wkv_decays(log_decay(decay), bonus, num_tokens))

    @property
    def num_layers(self) -> int:
        """Number of layers ``n``."""
        return len(self.step.mu_x)

    def prepack(self) -> 'CrossRWKVWeights':
        """Return a copy with the memory layout that is fastest to multiply."""
        return CrossRWKVWeights(
            PromptWeights(*map(transposed, self.prompt)),
            StepWeights(*map(transposed, self.step)), self.decays)

    def run_step(self, wrap: Wrap, x: Tensor, prompt: Prompt,
                 state: LayerState,
                 spec: StackSpec) -> Tuple[Tensor, LayerState]:
        """Run one frame of each layer; ``wrap`` may compile the functions."""
        prompt_kv = wrap(project_prompt)(self.prompt, prompt, self.decays,
                                         spec)
        return wrap(layer_step)(self.step, x, state, prompt_kv, spec)


def _prompt_weights(layer: CrossRWKVLayer) -> PromptWeights:
    key, value = layer.key_value.weight.chunk(2)
    value = centred(value, layer.decay.shape)
    return PromptWeights(layer.mu_e, torch.cat([key, value]),
                         *gate_weights(layer.forget))


def _step_weights(layer: CrossRWKVLayer) -> StepWeights:
    return StepWeights(layer.norm_x.weight, layer.norm_x.bias, layer.mu_x,
                       layer.norm_h.weight, layer.norm_h.bias,
                       layer.receptance_gate.weight, layer.norm_y.weight,
                       layer.norm_y.bias, layer.output.weight,
                       layer.norm_a.weight, layer.norm_a.bias, layer.mu_a,
                       layer.receptance_key.weight, layer.value.weight)


class PromptProjection(NamedTuple):
    """The part of each layer that depends only on the edge prompt."""
    memory: BiWKVMemory
    forget_gate: Tensor  # (n, B, L, D)


def project_prompt(weights: PromptWeights, prompt: Prompt,
                   decays: BiWKVDecays, spec: StackSpec) -> PromptProjection:
    """Compute keys and values, eq. (5), their sums for eq. (6), and the gate.

    Args:
        weights (PromptWeights): Weights of ``n`` layers.
        prompt (Prompt): Prompt of each layer's frame, ``(n, B, L, D)``.
        decays (BiWKVDecays): Decays of the same layers.
        spec (StackSpec): Options and geometry.
    """
    neighbours: Neighbours = spec.neighbours
    if prompt.before is None:
        mixed = neighbours.mix(prompt.normed, weights.mu)
    else:
        mixed = neighbours.mix_and_difference(prompt.normed, weights.mu,
                                              prompt.before)
    key_value = linear(mixed, weights.key_value)
    k, v = key_value.unflatten(-1, (2, decays.w.shape[-2], -1)).unbind(-3)
    memory = bi_wkv_memory(rotate(k, spec.rotation), v, decays)
    gate = forget_gate(spec.cell, prompt.e, weights.forget,
                       weights.forget_bias)
    return PromptProjection(memory, gate)


def layer_step(weights: StepWeights, x: Tensor, state: LayerState,
               prompt_kv: PromptProjection,
               spec: StackSpec) -> Tuple[Tensor, LayerState]:
    """Run one frame of each of ``n`` layers, given the projected prompts.

    Args:
        weights (StepWeights): Weights of ``n`` layers.
        x (Tensor): Input of each layer, ``(n, B, L, D)``.
        state (LayerState): Stacked states after each layer's previous frame.
            Layers at their first frame come last, and have no ``x`` yet.
        prompt_kv (PromptProjection): Projections of the prompts of these
            frames.
        spec (StackSpec): Options and geometry.

    Returns:
        tuple[Tensor, LayerState]: Input of the next layers, of the shape of
        ``x``, and the states after these frames.
    """
    h, c, before = state
    neighbours, temporal_shift = spec.neighbours, spec.temporal_shift
    normed = layer_norm(x, weights.norm_x, weights.norm_x_bias)
    if temporal_shift:
        mixed = neighbours.mix_and_difference(
            normed, weights.mu_x, normed[:0] if before is None else before)
    else:
        mixed = neighbours.mix(normed, weights.mu_x)
    a = _spatial_mix(weights, x, mixed, h, prompt_kv.memory, spec.rotation)
    A = _channel_mix(weights, a, neighbours)
    A = A.to(c.dtype)  # the state stays in float32 under autocast
    c = spec.cell(A, prompt_kv.forget_gate.to(c.dtype), c)  # eq. (9)
    h = hidden_state(A, c)  # eq. (10)
    output = A + h if spec.residual else h
    return output, LayerState(h, c, normed if temporal_shift else None)


def _spatial_mix(weights: StepWeights, x: Tensor, mixed: Tensor, h: Tensor,
                 memory: BiWKVMemory, rotation: Optional[Tensor]) -> Tensor:
    """Compute equations (4), (6) and (7)."""
    past = layer_norm(h, weights.norm_h, weights.norm_h_bias)
    r, g = linear(
        torch.cat([mixed, past], dim=-1),
        weights.receptance_gate).chunk(2, dim=-1)  # eq. (4)
    r = rotate(r.unflatten(-1, memory.decays.w.shape[-2:]), rotation)
    y = bi_wkv_read(r, memory)  # eq. (6), (n, B, L, H, K)
    y = norm_heads(y, weights.norm_y, weights.norm_y_bias)
    gated = (F.silu(g).view_as(y) * y).flatten(-2)
    return add_linear(x, gated, weights.output)  # eq. (7)


def _channel_mix(weights: StepWeights, a: Tensor,
                 neighbours: Neighbours) -> Tensor:
    """Compute equation (8)."""
    mixed = neighbours.mix(
        layer_norm(a, weights.norm_a, weights.norm_a_bias), weights.mu_a)
    r, k = linear(mixed, weights.receptance_key).split(
        (a.shape[-1], weights.value.shape[-1]), dim=-1)
    k = F.relu(k)
    value = linear(k * k, weights.value)
    return torch.addcmul(a, torch.sigmoid(r), value)
