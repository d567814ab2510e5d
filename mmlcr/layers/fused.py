# Copyright (c) The mmlcr authors. All rights reserved.
"""A layer's two functions with fused kernels: :mod:`mmlcr.layers.kernels`.

The same functions of the same weights as in :mod:`mmlcr.layers.cross_rwkv`,
for inference on a CPU in float32. All tensors are contiguous.
"""
import functools
import math
import threading
from typing import Any, Callable, NamedTuple, Optional, Tuple

import numba
import numpy as np
import torch
from torch import Tensor

from mmlcr.ops import BiWKVDecays, BiWKVMemory
from mmlcr.ops import kernels as operator
from . import kernels
from .cell import PaperCell
from .cross_rwkv import (
    AnswerWeights,
    AskWeights,
    LayerState,
    Prompt,
    Surroundings,
)


class FusedAnswer(NamedTuple):
    """What the prompt says to each layer; the bias is the forget gate's."""
    memory: BiWKVMemory
    forget: Tensor  # (n, B, L, D), without bias and sigmoid
    forget_bias: Optional[Tensor]  # (n, D)


def answer(weights: AnswerWeights, prompt: Prompt, decays: BiWKVDecays,
           around: Surroundings) -> FusedAnswer:
    """As :func:`mmlcr.layers.cross_rwkv.answer`."""
    numba.set_num_threads(min(torch.get_num_threads(), _start_threads()))
    n, B, L, _ = prompt.normed.shape
    H, K = decays.w.shape[1:]
    C = decays.chunk_size
    chunks = B * H * -(-L // C)

    mixed = _scratch('mixed', n, B, L, weights.key_value.shape[-1])
    before = prompt.normed if prompt.before is None else prompt.before
    _call(kernels.mix_difference, prompt.normed, weights.mu,
          around.neighbours.tokens, before, mixed)
    key_value = _linear('key_value', mixed, weights.key_value)
    keys = _scratch('keys', n, chunks, C, 3 * K)
    values = _scratch('values', n, chunks, C, K)
    _call(operator.decay_keys, key_value, decays.factors,
          _rotation(around, L, K), keys, values)
    states = None
    if L > C:
        sums = _scratch('sums', n, chunks, 2 * K, K)
        states = _scratch('states', n, chunks, 2 * K, K)
        torch.bmm(keys.flatten(0, 1)[..., :2 * K].mT, values.flatten(0, 1),
                  out=sums.flatten(0, 1))
        _call(operator.pass_on, sums, decays.whole, decays.half, B, states)
    forget = prompt.e
    if weights.forget is not None:
        forget = _linear('forget', forget, weights.forget)
    return FusedAnswer(
        BiWKVMemory(keys, values, states, decays), forget,
        weights.forget_bias)


def ask(weights: AskWeights, x: Tensor, state: LayerState, told: FusedAnswer,
        around: Surroundings) -> Tuple[Tensor, LayerState]:
    """As :func:`mmlcr.layers.cross_rwkv.ask`."""
    h, c, before = state
    cell, neighbours, _, temporal_shift, residual = around
    n, B, L, D = x.shape
    normed, total = torch.empty_like(x), torch.empty_like(x)
    asking = _scratch('mixed', n, B, L, weights.receptance_gate.shape[-1])
    _call(kernels.norm_mix_difference, x, weights.norm_x,
          weights.norm_x_bias, weights.mu_x, neighbours.tokens,
          x[:0] if before is None else before, h, weights.norm_h,
          weights.norm_h_bias, normed, asking)
    receptance_gate = _linear('key_value', asking,
                              weights.receptance_gate)  # eq. (4)
    y = _read(receptance_gate, told.memory, around)  # eq. (6)
    gated, mixed = _scratch('gated', *x.shape), _scratch('mixed', *x.shape)
    _call(kernels.norm_heads_gate, y, receptance_gate, weights.norm_y,
          weights.norm_y_bias, gated)
    _call(kernels.add_norm_mix, x, _linear('added', gated, weights.output),
          weights.norm_a, weights.norm_a_bias, weights.mu_a,
          neighbours.tokens, total, gated, mixed)  # eq. (7)

    receptance_key = _linear('key_value', mixed, weights.receptance_key)
    _call(kernels.square_relu, receptance_key, D)
    value = _linear('added', receptance_key[..., D:], weights.value)
    new_c, h = torch.empty_like(x), torch.empty_like(x)
    if isinstance(cell, PaperCell):
        _call(kernels.paper_step, total, receptance_key, value, told.forget,
              np.float32(cell.bound), c, new_c, h)
    else:
        _call(kernels.coupled_step, total, receptance_key, value, told.forget,
              told.forget_bias, c, new_c, h)
    output = total.add_(h) if residual else h
    return output, LayerState(h, new_c, normed if temporal_shift else None)


def _read(receptance_gate: Tensor, memory: BiWKVMemory,
          around: Surroundings) -> Tensor:
    """Equation (6), in chunks ``(n, G, C, K)``."""
    keys, values, states, decays = memory
    n, chunks, C, K = values.shape
    asking = _scratch('sums', n, chunks, C, 2 * K)
    _call(operator.decay_receptance, receptance_gate, decays.factors,
          _rotation(around, receptance_gate.shape[2], K), asking)
    asking, keys = asking.flatten(0, 1), keys.flatten(0, 1)
    score, later = _scratch('scores', 2, n * chunks, C, C)
    torch.bmm(asking[..., :K], keys[..., K:2 * K].mT, out=score)
    torch.bmm(asking[..., K:], keys[..., :K].mT, out=later)
    _call(operator.join_scores, asking, keys, later, score)
    y = torch.bmm(
        score, values.flatten(0, 1), out=_scratch('y', n * chunks, C, K))
    if states is not None:
        y.baddbmm_(asking, states.flatten(0, 1))
    return y.view(values.shape)


def _linear(name: str, x: Tensor, weight: Tensor) -> Tensor:
    """As :func:`mmlcr.layers.stacked.linear`, into scratch memory."""
    y = _scratch(name, *x.shape[:-1], weight.shape[1])
    torch.bmm(x.flatten(1, 2), weight.mT, out=y.flatten(1, 2))
    return y


_of_thread = threading.local()


def _scratch(name: str, *shape: int) -> Tensor:
    """Memory for a result, under a name that another takes when it is used up.

    Always the same: it need not be asked of the system again and again, which
    for a clip would be some ten thousand pages.
    """
    size = math.prod(shape)
    kept = _of_thread.__dict__
    if name not in kept or len(kept[name]) < size:
        with torch.inference_mode(False):  # not for one mode alone
            kept[name] = torch.empty(4 * size)  # what is not used is free
    return kept[name][:size].view(shape)


def _call(kernel: Callable, *args: Any) -> None:
    kernel(*(arg.numpy() if isinstance(arg, Tensor) else arg
             for arg in args))


@functools.lru_cache(maxsize=None)
def _start_threads() -> int:
    """Start Numba's; returns how many there are.

    They may be PyTorch's, too, and starting them sets the number of both.
    """
    before = torch.get_num_threads()
    started = numba.get_num_threads()
    torch.set_num_threads(before)
    return started


def _rotation(around: Surroundings, L: int, K: int) -> Tensor:
    """Cosine and sine; of no angle where there is no rotary position."""
    if around.rotation is not None:
        return around.rotation
    return _no_rotation(L, K)


@functools.lru_cache(maxsize=64)
def _no_rotation(L: int, K: int) -> Tensor:
    return torch.tensor([1., 0.]).repeat(1, L, 1, K // 2, 1)
