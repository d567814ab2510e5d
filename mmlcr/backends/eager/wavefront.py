# Copyright (c) The mmlcr authors. All rights reserved.
"""Run a clip through the layers along the diagonals of layers and frames.

At step ``s``, layer ``i`` is at frame ``s - i``, and all layers are computed
at once: ``T + n - 1`` steps instead of ``T n`` (Appleyard et al., arXiv
1604.01946, for stacked recurrent layers).
"""
import functools
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmlcr.backends.base import StackOutput, Tokens, bound_gradients
from mmlcr.layers import Geometry, LayerState, Prompt
from mmlcr.ops import TokenShift
from mmlcr.ops.batched import map_tensors, narrow, stack
from mmlcr.ops.grad_slices import GradSlices
from .cross_rwkv import CrossRWKVWeights
from .spec import StackSpec, Wrap, unwrapped
from .vrwkv6 import VRWKV6Weights

Weights = Union[CrossRWKVWeights, VRWKV6Weights]

# Elements of the tensors that are computed at once on a CPU: more of them have
# less overhead, fewer fit into its cache. A backward pass has more overhead.
GROUP_ELEMENTS, GROUP_ELEMENTS_WITH_GRAD = 150_000, 600_000


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
        group = _group_size(n, x)
        weights, prompt = (
            map_tensors(GradSlices, t) for t in (self.weights, prompt))
        step = functools.partial(_step, self.wrap)
        if self.with_cp:
            step = functools.partial(checkpoint, step, use_reentrant=False)
        outputs = list(x.unbind())
        after: List[LayerState] = []
        for i in range(0, n, group):
            j = min(i + group, n)
            outputs, cells, states = _run_layers(
                weights, (i, j), outputs, prompt,
                None if state is None else narrow(state, i, j),
                geometry.shift, spec, step)
            after += states
        return StackOutput(outputs, cells, stack(after))


def _group_size(num_layers: int, x: Tensor) -> int:
    """Return how many layers are computed at once for tokens ``(T, ...)``."""
    if len(x) == 1 or x.device.type != 'cpu':
        return num_layers
    elements = (GROUP_ELEMENTS_WITH_GRAD if torch.is_grad_enabled()
                else GROUP_ELEMENTS)
    return min(num_layers, max(1, round(elements / int(x[0].numel()))))


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
    weights: Weights, group: Tuple[int, int], xs: Sequence[Tensor],
    prompt: Prompt, before: Optional[LayerState], shift: TokenShift,
    spec: StackSpec, step: functools.partial
) -> Tuple[List[Tensor], List[Tensor], List[LayerState]]:
    """Run all frames through a group of layers, from one to before another.

    ``xs`` is the input of the first layer, one tensor for each of ``T``
    frames. Returns output and cell of the last layer for each frame, and the
    state of each layer after the last frame.
    """
    lowest, n = group[0], group[1] - group[0]
    T, B = len(xs), xs[0].shape[0]
    outputs, cells, last_states = [], [], []
    x = xs[0].new_empty(0, *xs[0].shape)
    state: Optional[LayerState] = None
    for s in range(T + n - 1):
        start, stop = max(0, s - T + 1), min(n, s + 1)  # active layers
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
        at = T - 1 - s  # index of the lowest layer's frame, in reverse order
        x, state = step(
            narrow(weights, lowest + start, lowest + stop), x,
            narrow(prompt, at + start, at + stop), state, spec)
        bound_gradients(state)
        if stop == n:
            outputs.append(_last_layer(x))
            cells.append(_last_layer(state.c))
        if s >= T - 1:  # the lowest active layer has finished
            last_states.append(_layer_state(state, 0))
            state = narrow(state, 1, n)
    return outputs, cells, last_states


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
