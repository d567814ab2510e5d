# Copyright (c) The mmlcr authors. All rights reserved.
"""A Cross RWKV layer, eqs. (3) to (10): its weights, and a frame's passage.

A layer's frame needs the layer below at the same frame, and itself one frame
before. So layer ``i`` at frame ``s - i`` can be computed for many ``i`` at
once: the functions here work on ``n`` layers side by side, ``(n, B, L, D)``,
each at a frame of its own.

The prompt does not depend on any memory: what the layers make of it,
:func:`answer`, is apart from what waits for the memory, :func:`ask`.
"""
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlcr.ops import (
    BiWKVDecays,
    BiWKVMemory,
    bi_wkv,
    bi_wkv_decays,
    bi_wkv_memory,
    bi_wkv_read,
)
from .cell import Cell, hidden_state
from .rotary import rotate
from .stacked import (
    NORM_EPS,
    add_linear,
    layer_norm,
    linear,
    narrow,
    stack,
)
from .token_shift import Neighbours, TokenShift

if TYPE_CHECKING:
    from .functions import Functions

FASTEST_DECAY, SLOWEST_DECAY = 1., -5.  # of log(-w), across a head
# Of log(-w): exp(-exp(10)) is zero, also in float64. Where exp() of more is
# infinite, the gradient would be zero times infinity.
STRONGEST_DECAY = 10.
FORGET_BIAS = 2.  # sigmoid(2) = 0.88: a memory of some eight frames at first


class AnswerWeights(NamedTuple):
    """What a layer makes keys, values and forget gate with."""
    mu: Tensor  # (D,)
    key_value: Tensor  # (2D, D or 2D), of the prompt and its difference
    forget: Optional[Tensor]  # (D, D)
    forget_bias: Optional[Tensor]  # (D,)


class AskWeights(NamedTuple):
    """All other weights of a layer."""
    norm_x: Tensor  # (D,), as all norms
    norm_x_bias: Tensor
    mu_x: Tensor  # (D,)
    norm_h: Tensor
    norm_h_bias: Tensor
    receptance_gate: Tensor  # (2D, 2D or 3D), of frame, its difference and h
    norm_y: Tensor
    norm_y_bias: Tensor
    output: Tensor  # (D, D)
    norm_a: Tensor
    norm_a_bias: Tensor
    mu_a: Tensor  # (D,)
    receptance_key: Tensor  # (D + inner, D)
    value: Tensor  # (D, inner)


class LayerWeights(NamedTuple):
    """The weights of some layers side by side, each ``(n, ...)``."""
    answer: AnswerWeights
    ask: AskWeights
    decays: BiWKVDecays

    @classmethod
    def of(cls, layers: Sequence['CrossRWKVLayer'],
           num_tokens: int) -> 'LayerWeights':
        """Stack those of ``n`` layers, for frames of ``num_tokens``."""
        decay = torch.stack([layer.decay for layer in layers])
        bonus = torch.stack([layer.bonus for layer in layers])
        return cls(
            stack([layer.answer_weights() for layer in layers]),
            stack([layer.ask_weights() for layer in layers]),
            bi_wkv_decays(log_decay(decay), bonus, num_tokens))

    @property
    def num_layers(self) -> int:
        """Layers ``n``."""
        return len(self.ask.mu_x)

    def laid_out(self) -> 'LayerWeights':
        """The same, matrices in the order that products read them in."""
        return LayerWeights(
            AnswerWeights(*map(transposed, self.answer)),
            AskWeights(*map(transposed, self.ask)), self.decays)

    def layers(self, start: int, stop: int) -> 'LayerWeights':
        """Those of some layers."""
        return LayerWeights(
            narrow(self.answer, start, stop), narrow(self.ask, start, stop),
            self.decays.layers(start, stop))

    def step(self, functions: 'Functions', x: Tensor, prompt: 'Prompt',
             state: 'LayerState',
             around: 'Surroundings') -> Tuple[Tensor, 'LayerState']:
        """A frame's passage: :func:`answer`, then :func:`ask`."""
        told = functions.answer(self.answer, prompt, self.decays, around)
        return functions.ask(self.ask, x, state, told, around)


class LayerState(NamedTuple):
    """What a layer carries from a frame to the next, each ``(B, L, D)``."""
    h: Tensor  # hidden state
    c: Tensor  # cell
    x: Optional[Tensor]  # normed frame tokens, for the temporal difference

    @classmethod
    def zeros(cls, x: Tensor) -> 'LayerState':
        """The state before the first frame, for tokens like ``x``."""
        zeros = x.new_zeros(
            x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
        return cls(zeros, zeros, None)


class Frames(NamedTuple):
    """What the layers read of some frames, in order of time."""
    x: Tensor  # (T, B, L, D), for the first layer
    e: Tensor  # (T, B, L, D), edge prompt, as all that follow for each layer
    prompt: Tensor  # (T, B, L, D), e normed
    before: Optional[Tensor]  # (B, L, D), that of the frame before the first


class Prompt(NamedTuple):
    """The edge prompt of some frames, the latest first."""
    e: Tensor  # (T, B, L, D)
    normed: Tensor  # (T, B, L, D)
    before: Optional[Tensor]  # (T, B, L, D), normed, of the frame before

    @classmethod
    def of(cls, frames: Frames) -> 'Prompt':
        """Turn frames around; without one before there are no differences."""
        e, normed = frames.e.flip(0), frames.prompt.flip(0)
        if frames.before is None:
            return cls(e, normed, None)
        normed = torch.cat([normed, frames.before.to(normed.dtype)[None]])
        return cls(e, normed[:-1], normed[1:])


class Surroundings(NamedTuple):
    """What the layers have in common."""
    cell: Cell
    neighbours: Neighbours  # of the frames of a step
    rotation: Optional[Tensor]  # rotary position
    temporal_shift: bool
    residual: bool  # a layer gives A + h to the next, instead of the paper's h
    post_norm: bool = False  # of Vision-RWKV's layers: norms come after


class FramePrompt(NamedTuple):
    """The edge prompt of one frame, each ``(B, L, D)``."""
    e: Tensor
    normed: Tensor  # the layer norm of e
    # normed, of the previous frame, and of this one where there is none
    before: Tensor


class Geometry(NamedTuple):
    """Where the tokens of a frame sit, which all layers share."""
    shift: TokenShift
    rotation: Optional[Tensor]  # of rotary_table; None without rotary position


class CrossRWKVLayer(BaseModule):
    """A Cross RWKV layer, eqs. (3) to (10): its ``forward`` is one frame.

    Args:
        embed_dims (int): Width ``D``.
        num_heads (int): Heads ``H``.
        hidden_rate (float): Inner width of the channel mix over ``D``.
        temporal_shift (bool): Whether the difference to the previous frame
            is concatenated to the inputs of eqs. (4) and (5).
        cell (Cell): The memory, eq. (9).
        residual (bool): Whether the next layer reads ``A + h`` instead of the
            paper's ``h``. Defaults to False.
    """

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
        self.forget = forget_gate(D, cell)

    def forward(self, x: Tensor, prompt: FramePrompt, state: 'LayerState',
                geometry: Geometry) -> Tuple[Tensor, 'LayerState']:
        """Read one frame.

        Args:
            x (Tensor): Frame tokens, or what the layer below gives,
                ``(B, L, D)``.
            prompt (FramePrompt): The edge prompt of the frame.
            state (LayerState): After the previous frame; see
                :meth:`LayerState.zeros`. Its ``x`` is None before the first.
            geometry (Geometry): Where the tokens sit.

        Returns:
            tuple[Tensor, LayerState]: What the next layer reads,
            ``(B, L, D)``, and the state after the frame.
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
            e_in = torch.cat([e_in, prompt.normed - prompt.before], -1)
        past = self.norm_h(h.to(x_norm.dtype))
        r, g = self.receptance_gate(
            torch.cat([x_in, past.to(x_in.dtype)], -1)).chunk(2, -1)  # eq. (4)
        k, v = self.key_value(e_in).chunk(2, -1)  # eq. (5)

        r, k, v = (t.unflatten(-1, heads) for t in (r, k, v))
        r, k = (rotate(t, geometry.rotation) for t in (r, k))
        y = bi_wkv(r, k, v, log_decay(self.decay), self.bonus)  # eq. (6)
        y = self.norm_y(y.reshape(-1, D)).view_as(x)
        a = x + self.output(F.silu(g) * y.to(g.dtype))  # eq. (7)

        a_in = mix(self.norm_a(a), geometry.shift, self.mu_a)
        r, k = self.receptance_key(a_in).tensor_split([D], -1)
        A = a + torch.sigmoid(r) * self.value(F.relu(k)**2)  # eq. (8)

        A = A.to(c.dtype)  # the memory stays in float32 under autocast
        f = self.cell.activate(self.forget(prompt.e))
        c = self.cell(A, f.to(c.dtype), c)  # eq. (9)
        h = hidden_state(A, c)  # eq. (10)
        output = A + h if self.residual else h
        return output, LayerState(h, c,
                                  x_norm if self.temporal_shift else None)

    def answer_weights(self) -> AnswerWeights:
        """Weights for :func:`answer`.

        Values without a mean along a head: what is read of them has none
        then, and the norm of eq. (7) need not take it.
        """
        forget = gate_weights(self.forget)
        key, value = self.key_value.weight.chunk(2)
        value = centred(value, self.decay.shape)
        return AnswerWeights(self.mu_e, torch.cat([key, value]), *forget)

    def ask_weights(self) -> AskWeights:
        """Weights for :func:`ask`."""
        return AskWeights(self.norm_x.weight, self.norm_x.bias, self.mu_x,
                          self.norm_h.weight, self.norm_h.bias,
                          self.receptance_gate.weight, self.norm_y.weight,
                          self.norm_y.bias, self.output.weight,
                          self.norm_a.weight, self.norm_a.bias, self.mu_a,
                          self.receptance_key.weight, self.value.weight)


class Answer(NamedTuple):
    """What the prompt says to each layer."""
    memory: BiWKVMemory
    forget_gate: Tensor  # (n, B, L, D)


def answer(weights: AnswerWeights, prompt: Prompt, decays: BiWKVDecays,
           around: Surroundings) -> Answer:
    """Keys and values, eq. (5), summed up for eq. (6), and forget gate.

    Args:
        weights (AnswerWeights): Of ``n`` layers.
        prompt (Prompt): Of a frame for each.
        decays (BiWKVDecays): Of the same layers.
        around (Surroundings): All else.
    """
    cell, neighbours, rotation = around[:3]
    if prompt.before is None:
        mixed = neighbours.mix(prompt.normed, weights.mu)
    else:
        mixed = neighbours.mix_and_difference(prompt.normed, weights.mu,
                                              prompt.before)
    key_value = linear(mixed, weights.key_value)
    k, v = key_value.unflatten(-1, (2, decays.w.shape[-2], -1)).unbind(-3)
    memory = bi_wkv_memory(rotate(k, rotation), v, decays)
    gate = cell.gate(prompt.e, weights.forget, weights.forget_bias)
    return Answer(memory, gate)


def ask(weights: AskWeights, x: Tensor, state: LayerState, told: Answer,
        around: Surroundings) -> Tuple[Tensor, LayerState]:
    """A frame's passage through a layer, of ``n`` layers side by side.

    Args:
        weights (AskWeights): Of ``n`` layers.
        x (Tensor): What each of them reads, ``(n, B, L, D)``.
        state (LayerState): Of each after its frame before, stacked. Layers
            that meet their first frame have no ``x`` yet, and come last.
        told (Answer): What the prompts of these frames say.
        around (Surroundings): All else.

    Returns:
        tuple[Tensor, LayerState]: What the next layers read, of the shape of
        ``x``, and the states after these frames.
    """
    h, c, before = state
    cell, temporal_shift = around.cell, around.temporal_shift
    normed = layer_norm(x, weights.norm_x, weights.norm_x_bias)
    if temporal_shift:
        mixed = around.neighbours.mix_and_difference(
            normed, weights.mu_x, normed[:0] if before is None else before)
    else:
        mixed = around.neighbours.mix(normed, weights.mu_x)
    a = _spatial_mix(weights, x, mixed, h, told.memory, around.rotation)
    A = _channel_mix(weights, a, around.neighbours)
    A = A.to(c.dtype)  # the state's float32
    c = cell(A, told.forget_gate.to(c.dtype), c)  # eq. (9)
    h = hidden_state(A, c)  # eq. (10)
    output = A + h if around.residual else h
    return output, LayerState(h, c, normed if temporal_shift else None)


def _spatial_mix(weights: AskWeights, x: Tensor, mixed: Tensor, h: Tensor,
                 memory: BiWKVMemory, rotation: Optional[Tensor]) -> Tensor:
    """Equations (4), (6) and (7)."""
    past = layer_norm(h, weights.norm_h, weights.norm_h_bias)
    asked = linear(
        torch.cat([mixed, past], dim=-1), weights.receptance_gate)
    r, g = asked.chunk(2, dim=-1)  # eq. (4)
    r = rotate(r.unflatten(-1, memory.decays.w.shape[-2:]), rotation)
    y = bi_wkv_read(r, memory)  # eq. (6), (n, B, L, H, K)
    y = norm_heads(y, weights.norm_y, weights.norm_y_bias)
    gated = (F.silu(g).view_as(y) * y).flatten(-2)
    return add_linear(x, gated, weights.output)  # eq. (7)


def _channel_mix(weights: AskWeights, a: Tensor,
                 neighbours: Neighbours) -> Tensor:
    """Equation (8)."""
    mixed = neighbours.mix(
        layer_norm(a, weights.norm_a, weights.norm_a_bias), weights.mu_a)
    r, k = linear(mixed, weights.receptance_key).split(
        (a.shape[-1], weights.value.shape[-1]), dim=-1)
    k = F.relu(k)
    value = linear(k * k, weights.value)
    return torch.addcmul(a, torch.sigmoid(r), value)


def forget_gate(embed_dims: int, cell: Cell) -> nn.Module:
    """What makes the logit of the forget gate of the edge prompt.

    The paper's cell takes the edge prompt itself.
    """
    if not cell.has_weights:
        return nn.Identity()
    gate = nn.Linear(embed_dims, embed_dims)
    nn.init.constant_(gate.bias, FORGET_BIAS)
    return gate


def gate_weights(
        gate: nn.Module) -> Tuple[Optional[Tensor], Optional[Tensor]]:
    """Weight and bias of :func:`forget_gate`, where there are any."""
    if isinstance(gate, nn.Linear):
        return gate.weight, gate.bias
    return None, None


def log_decay(decay: Tensor) -> Tensor:
    """``w = -exp(decay)`` of eq.

    (6), in float32 or wider.
    """
    wide = torch.promote_types(decay.dtype, torch.float32)
    return -torch.exp(decay.to(wide).clamp(max=STRONGEST_DECAY))


def mix(x: Tensor, shift: TokenShift, mu: Tensor) -> Tensor:
    """Each token with its neighbours, eq.

    (3), ``(B, L, D)``.
    """
    return torch.lerp(x, shift(x), mu.to(x.dtype))


def centred(value: Tensor, heads: Sequence[int]) -> Tensor:
    """Rows ``(H * K, inputs)`` whose outputs have no mean along a head."""
    value = value.unflatten(0, [*heads])
    return (value - value.mean(1, keepdim=True)).flatten(0, 1)


def transposed(weight: Optional[Tensor]) -> Any:
    """A stack of matrices, each column in one piece; others as they are."""
    if weight is None or weight.ndim < 3:
        return weight
    return weight.mT.contiguous().mT


def norm_heads(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LN_head of equation (7), ``(n, B, L, H, K)``; their mean is zero."""
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    y = y * torch.rsqrt(norm * norm / y.shape[-1] + NORM_EPS)
    weight, bias = (
        t.unflatten(-1, y.shape[-2:])[:, None, None] for t in (weight, bias))
    return torch.addcmul(bias, y, weight)
