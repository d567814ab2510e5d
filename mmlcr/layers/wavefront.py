# Copyright (c) The mmlcr authors. All rights reserved.
"""A clip through several layers, along the diagonals of layers and frames.

At step ``s`` layer ``i`` is at frame ``s - i``: all of them are computed at
once, in ``T + n - 1`` steps instead of ``T n`` (for stacked recurrent layers:
Appleyard et al., arXiv 1604.01946).
"""
import functools
from typing import Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmlcr.ops import BiWKVDecays
from .compiled import Functions
from .cross_rwkv import (
    AnswerWeights,
    AskWeights,
    CrossRWKVLayer,
    LayerState,
    Prompt,
    Surroundings,
)
from .stacked import narrow, stack
from .token_shift import Neighbours, TokenShift


def run_layers(layers: Sequence[CrossRWKVLayer], decays: BiWKVDecays,
               xs: Sequence[Tensor], prompt: Prompt,
               states: Optional[Sequence[LayerState]], shift: TokenShift,
               around: Callable[[Neighbours], Surroundings],
               functions: Functions, with_cp: bool
               ) -> Tuple[List[Tensor], List[Tensor], List[LayerState]]:
    """All frames through some layers.

    Args:
        layers (Sequence[CrossRWKVLayer]): ``n`` layers, bottom first.
        decays (BiWKVDecays): Of these layers.
        xs (Sequence[Tensor]): What the first layer reads of each of ``T``
            frames, each ``(B, L, D)``.
        prompt (Prompt): Of the same frames.
        states (Sequence[LayerState], optional): Of each layer after the frame
            before the first; None starts afresh.
        shift (TokenShift): The spatial shift.
        around (Callable): What the layers have in common, given neighbours.
        functions (Functions): A layer's.
        with_cp (bool): Whether a step keeps its inputs alone for the backward
            pass.

    Returns:
        tuple[list[Tensor], list[Tensor], list[LayerState]]: What the next
        layer reads and the cell, of each frame, each ``(B, L, D)``; and the
        state of each layer after the last frame.
    """
    n, T, B = len(layers), len(xs), len(xs[0])
    step = functools.partial(_step, functions)
    if with_cp:
        step = functools.partial(checkpoint, step, use_reentrant=False)
    answers = stack([layer.answer_weights() for layer in layers])
    asks = [layer.ask_weights() for layer in layers]
    if T == 1:  # the layers wait for each other, what they are told does not
        told = functions.answer(answers, prompt.of_every_layer(n), decays,
                                around(shift.neighbours(n * B)))
    else:
        asks = stack(asks)

    outputs, cells, last_states = [], [], []
    x = xs[0].new_empty(0, *xs[0].shape)
    state: Optional[LayerState] = None
    for s in range(T + n - 1):
        start, stop = max(0, s - T + 1), min(n, s + 1)  # layers at work
        here = around(shift.neighbours((stop - start) * B))
        if s < n:  # one meets its first frame
            state = _join(state, states[s] if states else _fresh(xs[0]))
        if s < T:
            x = torch.cat([xs[s][None], x[:stop - 1]])
        else:
            x = x[:stop - start]
        assert state is not None
        if T == 1:
            x, state = functions.ask(
                stack([asks[s]]), x, state, told.layers(s, s + 1), here)
        else:
            at = T - 1 - s  # the frame of layer 0, the latest first
            x, state = step(
                narrow(asks, start, stop), narrow(answers, start, stop),
                decays.layers(start, stop), x,
                narrow(prompt, at + start, at + stop), state, here)
        if stop == n:
            outputs.append(x[-1])
            cells.append(state.c[-1])
        if s >= T - 1:  # one has met its last frame
            last_states.append(_first(state))
            state = narrow(state, 1, n)
    return outputs, cells, last_states


def _step(functions: Functions, asks: AskWeights, answers: AnswerWeights,
          decays: BiWKVDecays, x: Tensor, prompt: Prompt, state: LayerState,
          around: Surroundings) -> Tuple[Tensor, LayerState]:
    """Of layers side by side, each at a frame of its own."""
    told = functions.answer(answers, prompt, decays, around)
    return functions.ask(asks, x, state, told, around)


def _fresh(x: Tensor) -> LayerState:
    """Nothing remembered, for frames ``x``."""
    zeros = x.new_zeros(
        x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    return LayerState(zeros, zeros, None)


def _join(state: Optional[LayerState], new: LayerState) -> LayerState:
    """Put the state of one more layer at the end of a stack."""
    joined = []
    for stacked, one in zip(state or (None, ) * len(new), new):
        if one is not None:
            one = one[None]
            stacked = one if stacked is None else torch.cat([stacked, one])
        joined.append(stacked)
    return LayerState._make(joined)


def _first(state: LayerState) -> LayerState:
    return LayerState._make(None if t is None else t[0] for t in state)
