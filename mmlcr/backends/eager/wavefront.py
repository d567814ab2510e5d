# Copyright (c) The mmlcr authors. All rights reserved.
"""A clip through several layers, along the diagonals of layers and frames.

At step ``s`` layer ``i`` is at frame ``s - i``: all of them are computed at
once, in ``T + n - 1`` steps instead of ``T n`` (for stacked recurrent layers:
Appleyard et al., arXiv 1604.01946).
"""
import functools
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmlcr.backends.base import StackOutput, Tokens, bound_gradients
from mmlcr.layers import Geometry, LayerState, Prompt
from mmlcr.ops import TokenShift
from mmlcr.ops.batched import narrow, stack
from .cross_rwkv import CrossRWKVWeights
from .spec import StackSpec, Wrap, unwrapped
from .vrwkv6 import VRWKV6Weights

Weights = Union[CrossRWKVWeights, VRWKV6Weights]

# Elements of a tensor of the layers that are computed together: more of them
# mean less overhead, fewer stay in the processor's cache.
ELEMENTS_TOGETHER = 150_000

class Wavefront:
    """Runs the layers by PyTorch's operations.

    Args:
        weights (Weights): Of ``n`` layers, bottom first.
        spec (StackSpec): Their options.
        with_cp (bool): Whether a step keeps only its inputs for the backward
            pass. Defaults to False.
        wrap (Callable): What the functions of a step are wrapped in. Defaults
            to nothing.
    """

    def __init__(self,
                 weights: Weights,
                 spec: StackSpec,
                 with_cp: bool = False,
                 wrap: Wrap = unwrapped) -> None:
        self.weights = weights
        self.spec = spec
        self.with_cp = with_cp
        self.wrap = wrap

    def __call__(self, tokens: Tokens, e_norm_before: Optional[Tensor],
                 state: Optional[LayerState],
                 geometry: Geometry) -> StackOutput:
        """Take all frames through all layers.

        Arguments are those of :meth:`mmlcr.backends.Executor.run_layers`.
        The new state holds on to no other memory.
        """
        x, prompt = tokens.x, latest_first(tokens, e_norm_before)
        spec = self.spec._replace(rotation=geometry.rotation)
        n = self.weights.num_layers
        together = n
        if len(x) > 1:
            together = round(ELEMENTS_TOGETHER / int(x[0].numel()))
            together = min(n, max(1, together))
        step = functools.partial(_step, self.wrap)
        if self.with_cp:
            step = functools.partial(checkpoint, step, use_reentrant=False)
        outputs = list(x.unbind())
        after: List[LayerState] = []
        for i in range(0, n, together):
            j = min(i + together, n)
            outputs, cells, states = _run_layers(
                self.weights.narrow(i, j), outputs, prompt,
                None if state is None else narrow(state, i, j),
                geometry.shift, spec, step)
            after += states
        return StackOutput(outputs, cells, stack(after))


def latest_first(tokens: Tokens, before: Optional[Tensor]) -> Prompt:
    """The edge prompts of all frames, each ``(T, B, L, D)``, latest first.

    Args:
        tokens (Tokens): Of ``T`` frames.
        before (Tensor, optional): Normed, of the frame before the first. None
            without temporal difference.
    """
    e, normed = tokens.e.flip(0), tokens.e_norm.flip(0)
    if before is None:
        return Prompt(e, normed, None)
    normed = torch.cat([normed, before.to(normed.dtype)[None]])
    return Prompt(e, normed[:-1], normed[1:])


def _run_layers(
    weights: Weights, xs: Sequence[Tensor], prompt: Prompt,
    before: Optional[LayerState], shift: TokenShift, spec: StackSpec,
    step: functools.partial
) -> Tuple[List[Tensor], List[Tensor], List[LayerState]]:
    """Take all frames through some layers, whose weights these are.

    ``xs`` is the input of the first of them, one tensor for each of ``T``
    frames. Returns the input of the next layer and the cell, for each frame;
    and the state of each layer after the last frame.
    """
    n, T, B = weights.num_layers, len(xs), xs[0].shape[0]
    outputs, cells, last_states = [], [], []
    x = xs[0].new_empty(0, *xs[0].shape)
    state: Optional[LayerState] = None
    for s in range(T + n - 1):
        start, stop = max(0, s - T + 1), min(n, s + 1)  # active layers
        spec = spec._replace(neighbours=shift.neighbours((stop - start) * B))
        if s < n:  # one meets its first frame
            state = _join(
                state, LayerState.zeros(xs[0])
                if before is None else _at(before, s))
        if s < T:
            x = torch.cat([xs[s][None], x[:stop - 1]])
        else:
            x = x[:stop - start]
        assert state is not None
        at = T - 1 - s  # the frame of layer 0, the latest first
        x, state = step(
            weights.narrow(start, stop), x,
            narrow(prompt, at + start, at + stop), state, spec)
        bound_gradients(state)
        if stop == n:
            outputs.append(_alone(x))
            cells.append(_alone(state.c))
        if s >= T - 1:  # one has seen its last frame
            last_states.append(_at(state, 0))
            state = narrow(state, 1, n)
    return outputs, cells, last_states


def _step(wrap: Wrap, weights: Weights, x: Tensor, prompt: Prompt,
          state: LayerState,
          spec: StackSpec) -> Tuple[Tensor, LayerState]:
    return weights.run_step(wrap, x, prompt, state, spec)


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
    """The last layer's; without gradients, a copy that frees the others."""
    last = stacked[-1]
    return last if torch.is_grad_enabled() else last.clone()


def _at(state: LayerState, layer: int) -> LayerState:
    return LayerState._make(None if t is None else t[layer] for t in state)
