# Copyright (c) The mmlcr authors. All rights reserved.
"""A clip through several layers, along the diagonals of layers and frames.

At step ``s`` layer ``i`` is at frame ``s - i``: all of them are computed at
once, in ``T + n - 1`` steps instead of ``T n`` (for stacked recurrent layers:
Appleyard et al., arXiv 1604.01946).
"""
import functools
from typing import Callable, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .cross_rwkv import Frames, LayerState, LayerWeights, Prompt, Surroundings
from .functions import Functions
from .stacked import narrow, stack
from .token_shift import Neighbours, TokenShift
from .vrwkv6 import VRWKV6Weights

Weights = Union[LayerWeights, VRWKV6Weights]

# Size of a tensor of several layers' frames that are computed together: larger
# is less overhead, smaller stays in the cache.
ELEMENTS_TOGETHER = 150_000
# Of what a gradient passes on from a frame to the one before: far above what
# training can use, and far below what a square overflows. It is there only so
# that a long clip, whose gradient may double with every frame, stays finite.
GRADIENT_BOUND = 1e10


class Wavefront:
    """The layers by PyTorch's operations.

    Args:
        weights (LayerWeights | VRWKV6Weights): Of ``n`` layers, bottom first.
        functions (Functions): A layer's.
        with_cp (bool): Whether a step keeps its inputs alone for the backward
            pass. Defaults to False.
    """

    def __init__(self,
                 weights: Weights,
                 functions: Functions,
                 with_cp: bool = False) -> None:
        self.weights = weights
        self.functions = functions
        self.with_cp = with_cp

    def __call__(
        self, frames: Frames, before: Optional[LayerState],
        shift: TokenShift, around: Callable[[Neighbours], Surroundings],
        place: Optional[LayerState] = None
    ) -> Tuple[List[Tensor], List[Tensor], LayerState]:
        """All frames through all layers.

        Args:
            frames (Frames): Of ``T`` frames.
            before (LayerState, optional): Of all layers after the frame
                before, each ``(n, B, L, D)``; None starts afresh.
            shift (TokenShift): The spatial shift.
            around (Callable): What the layers have in common, given
                neighbours.
            place (LayerState, optional): Is not needed.

        Returns:
            tuple[list[Tensor], list[Tensor], LayerState]: What the last layer
            gives and its cell, of each frame, each ``(B, L, D)``; and the
            state after the last frame, which holds on to nothing else.
        """
        x, prompt = frames.x, Prompt.of(frames)
        n = self.weights.num_layers
        together = n
        if len(x) > 1:
            together = round(ELEMENTS_TOGETHER / int(x[0].numel()))
            together = min(n, max(1, together))
        outputs = list(x.unbind())
        after: List[LayerState] = []
        for i in range(0, n, together):
            j = min(i + together, n)
            outputs, cells, states = _run_layers(
                self.weights.layers(i, j), outputs, prompt,
                None if before is None else narrow(before, i, j), shift,
                around, self.functions, self.with_cp)
            after += states
        return outputs, cells, stack(after)


def _run_layers(weights: Weights, xs: Sequence[Tensor], prompt: Prompt,
                before: Optional[LayerState], shift: TokenShift,
                around: Callable[[Neighbours], Surroundings],
                functions: Functions, with_cp: bool
                ) -> Tuple[List[Tensor], List[Tensor], List[LayerState]]:
    """All frames through some layers, whose weights these are.

    ``xs`` is what the first of them reads of each of ``T`` frames. Returns
    what the next layer reads and the cell, of each frame; and the state of
    each layer after the last frame.
    """
    n, T, B = weights.num_layers, len(xs), xs[0].shape[0]
    step = functools.partial(_step, functions)
    if with_cp:
        step = functools.partial(checkpoint, step, use_reentrant=False)

    outputs, cells, last_states = [], [], []
    x = xs[0].new_empty(0, *xs[0].shape)
    state: Optional[LayerState] = None
    for s in range(T + n - 1):
        start, stop = max(0, s - T + 1), min(n, s + 1)  # layers at work
        here = around(shift.neighbours((stop - start) * B))
        if s < n:  # one meets its first frame
            state = _join(
                state, _fresh(xs[0]) if before is None else _at(before, s))
        if s < T:
            x = torch.cat([xs[s][None], x[:stop - 1]])
        else:
            x = x[:stop - start]
        assert state is not None
        at = T - 1 - s  # the frame of layer 0, the latest first
        x, state = step(
            weights.layers(start, stop), x,
            narrow(prompt, at + start, at + stop), state, here)
        _bound_gradients(state)
        if stop == n:
            outputs.append(_alone(x))
            cells.append(_alone(state.c))
        if s >= T - 1:  # one has met its last frame
            last_states.append(_at(state, 0))
            state = narrow(state, 1, n)
    return outputs, cells, last_states


def _step(functions: Functions, weights: Weights, x: Tensor, prompt: Prompt,
          state: LayerState,
          around: Surroundings) -> Tuple[Tensor, LayerState]:
    """Of layers side by side, each at a frame of its own."""
    return weights.step(functions, x, prompt, state, around)


def _bound_gradients(state: LayerState) -> None:
    """Of the two parts that depend on all frames before."""
    if torch.compiler.is_compiling():
        return
    for t in (state.h, state.c):
        if t.requires_grad:
            t.register_hook(_bounded)


def _bounded(gradient: Optional[Tensor]) -> Optional[Tensor]:
    if gradient is None:  # of what nobody read, out of a compiled graph
        return None
    return gradient.clamp(-GRADIENT_BOUND, GRADIENT_BOUND)


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


def _alone(stacked: Tensor) -> Tensor:
    """The last layer's; where no gradient is kept, the others may go."""
    last = stacked[-1]
    return last if torch.is_grad_enabled() else last.clone()


def _at(state: LayerState, layer: int) -> LayerState:
    return LayerState._make(None if t is None else t[layer] for t in state)
