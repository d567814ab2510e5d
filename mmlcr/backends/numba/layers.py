# Copyright (c) The mmlcr authors. All rights reserved.
"""Run all layers with the kernels of their type."""
import math
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from mmlcr.backends.base import StackOutput, Tokens
from mmlcr.backends.eager import CrossRWKVWeights, StackSpec, VRWKV6Weights
from mmlcr.layers import Geometry, LayerState, VRWKV6Layer
from . import cross_rwkv, vrwkv6
from .bi_wkv_tokens import CHUNK_SIZE, WORKSPACES
from .blas import BLAS
from .schedule import Passes, Sizes, pass_layers
from .workspace import as_array, share_threads, workspace

Shapes = Dict[str, Tuple[int, ...]]


class NumbaLayers:
    """Runs all layers in float32 on a CPU.

    Args:
        weights (dict): Arguments of the kernels that do not depend on a clip.
        chunk_size (int): Most tokens ``C`` of a chunk.
        spec (StackSpec): Options of the layers.
    """
    args_type: Callable[..., Any]  # the kernels' arguments
    passes: Passes  # of a layer

    def __init__(self, weights: Dict[str, Any], chunk_size: int,
                 spec: StackSpec) -> None:
        self.weights = weights
        self.chunk_size = chunk_size
        self.spec = spec
        # cache of the last geometry; with masks, each clip has its own
        self._geometry: Any = None
        self._grid: Dict[str, np.ndarray] = {}

    def thread_shapes(self) -> Shapes:
        """Return the shapes of each thread's workspaces."""
        raise NotImplementedError

    def layer_shapes(self, B: int, L: int, N: int) -> Shapes:
        """Return the shapes of the workspaces of each layer that runs.

        Args:
            B (int): Number of clips.
            L (int): Number of tokens.
            N (int): Number of chunks.
        """
        raise NotImplementedError

    def __call__(self,
                 tokens: Tokens,
                 e_norm_before: Optional[Tensor],
                 state: Optional[LayerState],
                 geometry: Geometry,
                 out: Optional[LayerState] = None) -> StackOutput:
        """Run all frames through all layers.

        Arguments are those of :meth:`mmlcr.backends.Executor.run_layers`. The
        output of the last layer overwrites ``tokens.x``.
        """
        x, e, e_norm = tokens
        (T, B, L, D), n = x.shape, len(self.weights['u'])
        after = out
        if after is None:
            h, c, normed = x.new_empty(3, n, B, L, D)
            after = LayerState(h, c,
                               normed if self.spec.temporal_shift else None)
        before = state
        if before is None:
            after.h.zero_()
            after.c.zero_()
            before = after
        cells = workspace('cells', *x.shape)
        args = self.args_type(
            blas=BLAS,
            bound=float(getattr(self.spec.cell, 'bound', 0.)),
            x=as_array(x),
            cells=cells,
            e=as_array(e),
            prompt=as_array(e_norm),
            prompt_before=as_array(
                e_norm[0] if e_norm_before is None else e_norm_before),
            is_first=int(state is None),
            h_before=as_array(before.h),
            c_before=as_array(before.c),
            x_before=_normed_x(before),
            h=as_array(after.h),
            c=as_array(after.c),
            normed_x=_normed_x(after),
            **self._grid_arrays(geometry, L),
            zeros=np.zeros(D, np.float32),
            **self.weights,
            **self._workspaces(T, B, L, D))
        pass_layers(
            *self.passes.bind(args),
            Sizes(T, B, n, len(args.a), args.sums.shape[3], len(args.inputs)))
        return StackOutput(x, torch.from_numpy(cells), after)

    def _grid_arrays(self, geometry: Geometry,
                     L: int) -> Dict[str, np.ndarray]:
        """Return neighbours and rotation as arrays."""
        shift, rotation = geometry
        known = self._geometry
        if known is None or known[0] is not shift or known[1] is not rotation:
            K = self.weights['u'].shape[-1]
            if rotation is None:  # rotate by zero
                rotation = torch.tensor([1., 0.])
                rotation = rotation.expand(len(shift.tokens), L, 1, K // 2, 2)
            cos, sin = rotation.flatten(1, 2).unbind(-1)
            self._grid = {
                'neighbours': shift.tokens.contiguous().numpy(),
                'cos': as_array(cos),
                'sin': as_array(sin)
            }
            self._geometry = geometry
        return self._grid

    def _workspaces(self, T: int, B: int, L: int,
                    D: int) -> Dict[str, np.ndarray]:
        """Allocate workspaces for as many layers as occupy all threads."""
        n, H, K = self.weights['u'].shape
        N, threads = -(-L // self.chunk_size), share_threads()
        s = math.ceil(threads / B)
        if 2 * s > T:
            s = math.ceil(threads / (B * N))
        s = min(s, n, T)
        of_layers = {
            'sums': (B, H, N, 2 * K, K),
            **dict.fromkeys(('logits', 'difference', 'a', 'normed_a'),
                            (B, L, D)),
            **self.layer_shapes(B, L, N)
        }
        return {
            name: workspace(name, count, *shape)
            for count, shapes in ((s, of_layers),
                                  (threads, self.thread_shapes()))
            for name, shape in shapes.items()
        }


class CrossRWKVLayers(NumbaLayers):
    """Layers of :class:`mmlcr.layers.CrossRWKVLayer`."""
    args_type = cross_rwkv.CrossRWKVArgs
    passes = cross_rwkv.PASSES

    def __init__(self, packed: CrossRWKVWeights, spec: StackSpec) -> None:
        prompt, step, decays = packed
        H, K = decays.w.shape[1:]

        def split(weight: Tensor) -> np.ndarray:
            first, second = weight.chunk(2, dim=1)
            return as_array(
                torch.cat([_by_halves(first, H, K), second], 1).mT)

        super().__init__(
            dict(
                residual=int(spec.residual),
                shares_e=_shares(prompt.mu, K),
                key_value=split(prompt.key_value),
                **_forget_gate(prompt.forget, prompt.forget_bias, step.norm_x),
                shares_x=_shares(step.mu_x, K),
                receptance_gate=split(step.receptance_gate),
                output=as_array(step.output.mT),
                shares_a=_shares(step.mu_a, K),
                receptance_key=as_array(step.receptance_key.mT),
                value=as_array(step.value.mT),
                factors=as_array(_halves(decays.factors[..., :2, :])),
                chunk_decay=as_array(_halves(decays.chunk_decay[..., 0])),
                half_decay=as_array(_halves(decays.half_decay[..., 0])),
                u=as_array(_halves(decays.u)),
                **_norms(step)), decays.chunk_size, spec)

    def thread_shapes(self) -> Shapes:
        """See :class:`NumbaLayers`."""
        _, H, K = self.weights['u'].shape
        C = self.chunk_size
        widest = max(self.weights['receptance_gate'].shape[1], 2 * H * K,
                     self.weights['receptance_key'].shape[2])
        return {
            'inputs': (C * widest, ),
            'outputs': (C * widest, ),
            'decayed_r': (C, 2 * K),
            'scores': (2, C, C),
            'states': (H, 2 * K, K)
        }

    def layer_shapes(self, B: int, L: int, N: int) -> Shapes:
        """See :class:`NumbaLayers`."""
        _, H, K = self.weights['u'].shape
        return {
            'keys_values': (B, L, 2 * H * K),
            'keys': (B, N, H, self.chunk_size, 2 * K)
        }


class VRWKV6Layers(NumbaLayers):
    """Layers of :class:`mmlcr.layers.VRWKV6Layer`."""
    args_type = vrwkv6.VRWKV6Args
    passes = vrwkv6.PASSES

    def __init__(self, packed: VRWKV6Weights, num_tokens: int,
                 spec: StackSpec) -> None:
        n, H, K = packed.bonus.shape
        D, no_scale = H * K, torch.ones_like(packed.decay)

        def halves(weight: Tensor) -> Tensor:
            """Order the first D rows as the operator has its channels."""
            return torch.cat(
                [_by_halves(weight[:, :D], H, K), weight[:, D:]], 1)

        def matrix(weight: Tensor) -> np.ndarray:
            return as_array(weight.mT)

        change = packed.change
        if change is None:
            change = packed.past[:0]
        step = _shares(no_scale[:1], K)[0]
        step[4] = -1.
        super().__init__(
            dict(
                post_norm=int(spec.post_norm),
                shares_base=_shares(packed.mu_base, K),
                shares_step=step,
                mu=as_array(packed.mu),
                mix_down=matrix(packed.mix_down),
                mix_up=as_array(packed.mix_up),
                decay=as_array(halves(packed.decay)),
                decay_down=matrix(packed.decay_down),
                decay_up=matrix(halves(packed.decay_up)),
                u=as_array(_halves(packed.bonus)),
                projections=matrix(
                    torch.stack([
                        halves(packed.key), packed.value,
                        halves(packed.receptance), packed.gate
                    ], 1)),
                prompt_weight=matrix(packed.prompt),
                change=matrix(halves(change)),
                past=matrix(halves(packed.past)),
                output=matrix(packed.output),
                scale_x=as_array(
                    no_scale if packed.scale_x is None else packed.scale_x),
                shares_receptance=_shares(packed.mu_receptance, K),
                shares_key=_shares(packed.mu_key, K),
                channel_receptance=matrix(packed.channel_receptance),
                channel_key=matrix(packed.channel_key),
                channel_value=matrix(packed.channel_value),
                scale_a=as_array(
                    no_scale if packed.scale_a is None else packed.scale_a),
                **_forget_gate(packed.forget, packed.forget_bias,
                               packed.decay),
                memory_scale=as_array(packed.memory_scale),
                **_norms(packed)),
            math.ceil(num_tokens / math.ceil(num_tokens / CHUNK_SIZE)), spec)

    def thread_shapes(self) -> Shapes:
        """See :class:`NumbaLayers`."""
        _, H, K = self.weights['u'].shape
        C, D = self.chunk_size, H * K
        rank, inner = (self.weights[name].shape[2]
                       for name in ('decay_down', 'channel_key'))
        return {
            'inputs': (C * 2 * D, ),
            'outputs': (C * max(5 * D + rank, D + inner), ),
            'steps': (C, D),
            'low': (C, self.weights['mix_down'].shape[2]),
            'scores': (C, C),
            'work': (WORKSPACES, C, K),
            'states': (2 * K, K)
        }

    def layer_shapes(self, B: int, L: int, N: int) -> Shapes:
        """See :class:`NumbaLayers`."""
        _, H, K = self.weights['u'].shape
        return {
            'totals': (B, H, N, K),
            'decayed_r': (B, L, H, 2 * K),
            **dict.fromkeys(('prompted', 'gates', 'y'), (B, L, H * K))
        }


def pack_layers(layers: Sequence[Any], num_tokens: int,
                spec: StackSpec) -> NumbaLayers:
    """Pack layers of one type for frames of ``num_tokens`` tokens."""
    if isinstance(layers[0], VRWKV6Layer):
        return VRWKV6Layers(
            VRWKV6Weights.pack(layers, num_tokens), num_tokens, spec)
    return CrossRWKVLayers(CrossRWKVWeights.pack(layers, num_tokens), spec)


def _forget_gate(weight: Optional[Tensor], bias: Optional[Tensor],
                 like: Tensor) -> Dict[str, np.ndarray]:
    """Return the forget gates' weights; empty arrays for the paper's cell."""
    if weight is None or bias is None:
        bias = like[:0]
        weight = bias[..., None]
    return dict(forget=as_array(weight.mT), forget_bias=as_array(bias))


def _norms(weights: Any) -> Dict[str, np.ndarray]:
    """Return the weights and biases of norms among packed weights."""
    return {
        name: as_array(getattr(weights, name))
        for name in weights._fields if name.startswith('norm')
    }


def _shares(mu: Tensor, K: int) -> np.ndarray:
    """Weights of left, right, upper, lower neighbour and the token.

    Args:
        mu (Tensor): Share of the neighbours, shape ``(n, D)``.
        K (int): Channels of a head.

    Returns:
        np.ndarray: Shape ``(n, 5, D)``.
    """
    direction = torch.arange(mu.shape[-1]) * 4 // K % 4
    taken = torch.arange(4)[:, None] == direction
    mu = mu[:, None]
    return as_array(torch.cat([mu * taken, 1 - mu], 1))


def _by_halves(weight: Tensor, H: int, K: int) -> Tensor:
    """Reorder rows ``(n, H * K, ...)`` in each head by :func:`_halves`."""
    rows = weight.unflatten(1, (H, K)).movedim(2, -1)
    return _halves(rows).movedim(-1, 2).flatten(1, 2)


def _halves(x: Tensor) -> Tensor:
    """Reorder channels ``(..., K)`` to 0, 2, ..., 1, 3, ...

    The channels of a rotary pair are then half a head apart.
    """
    return x.unflatten(-1, (-1, 2)).mT.flatten(-2)


def _normed_x(state: LayerState) -> np.ndarray:
    if state.x is None:  # not part of the state, only needed in this call
        return workspace('normed_x', *state.h.shape)
    return as_array(state.x)
