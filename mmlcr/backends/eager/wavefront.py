# Copyright (c) The mmlcr authors. All rights reserved.
"""Run a clip through the layers along the diagonals of layers and frames.

At step ``s``, layer ``i`` is at frame ``s - i``, and all layers are computed
at once: ``T + n - 1`` steps instead of ``T n`` (Appleyard et al., arXiv
1604.01946, for stacked recurrent layers).
"""
import functools
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmlcr.backends.base import StackOutput, Tokens, bound_gradients
from mmlcr.layers import Geometry, LayerState, Prompt
from mmlcr.ops import TokenShift
from mmlcr.ops.batched import narrow, stack
from mmlcr.ops.windows import windows
from .cross_rwkv import CrossRWKVWeights
from .spec import StackSpec, Wrap, unwrapped
from .vrwkv6 import VRWKV6Weights

Weights = Union[CrossRWKVWeights, VRWKV6Weights]

# Elements of the tensors that are computed at once: more of them have less
# overhead, fewer fit into the processor's cache.
GROUP_ELEMENTS = 150_000

class Wavefront:
    """Runs the layers with PyTorch operations.

    Args:
        weights (Weights): Weights of ``n`` layers, bottom first.
        spec (StackSpec): Options of the layers.
        with_cp (bool): Whether a step keeps only its inputs for the backward
            pass. Defaults to False.
        wrap (Callable): Wrapper of a step's functions, such as
            ``torch.compile``. Defaults to none.
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
        """Run all frames through all layers.

        Arguments are those of :meth:`mmlcr.backends.Executor.run_layers`. The
        new state shares no memory with other results.
        """
        x, prompt = tokens.x, latest_first(tokens, e_norm_before)
        spec = self.spec._replace(rotation=geometry.rotation)
        n = self.weights.num_layers
        group = n
        if len(x) > 1:
            group = round(GROUP_ELEMENTS / int(x[0].numel()))
            group = min(n, max(1, group))
        step = functools.partial(_step, self.wrap)
        if self.with_cp:
            step = functools.partial(checkpoint, step, use_reentrant=False)
        outputs = list(x.unbind())
        after: List[LayerState] = []
        for i in range(0, n, group):
            j = min(i + group, n)
            outputs, cells, states = _run_layers(
                self.weights.narrow(i, j), outputs, prompt,
                None if state is None else narrow(state, i, j),
                geometry.shift, spec, step)
            after += states
        return StackOutput(outputs, cells, stack(after))


def latest_first(tokens: Tokens, before: Optional[Tensor]) -> Prompt:
    """Return the edge prompts of ``T`` frames in reverse order.

    Args:
        tokens (Tokens): Tokens of ``T`` frames.
        before (Tensor, optional): ``e_norm`` of the frame before the first.
            None without temporal difference.

    Returns:
        Prompt: Each ``(T, B, L, D)``, the latest frame first.
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
    """Run all frames through a group of layers.

    ``xs`` is the input of the first layer, one tensor for each of ``T``
    frames. Returns output and cell of the last layer for each frame, and the
    state of each layer after the last frame.
    """
    n, T, B = weights.num_layers, len(xs), xs[0].shape[0]
    outputs, cells, last_states = [], [], []
    x = xs[0].new_empty(0, *xs[0].shape)
    state: Optional[LayerState] = None
    active = [(max(0, s - T + 1), min(n, s + 1)) for s in range(T + n - 1)]
    # step s has frame s - i of layer i, and the prompts' order is reversed
    prompts = _windows(prompt, [(T - 1 - s + start, T - 1 - s + stop)
                                for s, (start, stop) in enumerate(active)])
    for s, (start, stop) in enumerate(active):
        spec = spec._replace(neighbours=shift.neighbours((stop - start) * B))
        if s < n:  # layer s starts with its first frame
            state = _join(
                state, LayerState.zeros(xs[0])
                if before is None else _layer_state(before, s))
        if s < T:
            x = torch.cat([xs[s][None], x[:stop - 1]])
        else:
            x = x[:stop - start]
        assert state is not None
        x, state = step(
            weights.narrow(start, stop), x, next(prompts), state, spec)
        bound_gradients(state)
        if stop == n:
            outputs.append(_last_layer(x))
            cells.append(_last_layer(state.c))
        if s >= T - 1:  # the lowest active layer has finished
            last_states.append(_layer_state(state, 0))
            state = narrow(state, 1, n)
    return outputs, cells, last_states


def _windows(prompt: Prompt,
             bounds: Sequence[Tuple[int, int]]) -> Iterator[Prompt]:
    """Select the prompts of each step."""
    none = [None] * len(bounds)
    return map(Prompt, *(none if t is None else windows(t, bounds)
                         for t in prompt))


def _step(wrap: Wrap, weights: Weights, x: Tensor, prompt: Prompt,
          state: LayerState,
          spec: StackSpec) -> Tuple[Tensor, LayerState]:
    return weights.run_step(wrap, x, prompt, state, spec)


def _join(state: Optional[LayerState], new: LayerState) -> LayerState:
    """Append the state of one more layer to a stack."""
    joined = []
    for batched, one in zip(state or (None, ) * len(new), new):
        if one is not None:
            one = one[None]
            batched = one if batched is None else torch.cat([batched, one])
        joined.append(batched)
    return LayerState._make(joined)


def _last_layer(batched: Tensor) -> Tensor:
    """Select the last layer; without gradients, copy it to free the others."""
    last = batched[-1]
    return last if torch.is_grad_enabled() else last.clone()


def _layer_state(state: LayerState, layer: int) -> LayerState:
    return LayerState._make(None if t is None else t[layer] for t in state)
