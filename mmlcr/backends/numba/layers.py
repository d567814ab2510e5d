# Copyright (c) The mmlcr authors. All rights reserved.
"""Run all layers with :mod:`mmlcr.backends.numba.kernels`."""
import math
from typing import Any, Dict, Optional

import numpy as np
import torch
from torch import Tensor

from mmlcr.backends.base import StackOutput, Tokens
from mmlcr.backends.eager import CrossRWKVWeights, StackSpec
from mmlcr.layers import Geometry, LayerState
from .blas import BLAS
from .kernels import LayerArgs, pass_layers
from .workspace import as_array, share_threads, workspace


class NumbaLayers:
    """Runs all layers in float32 on a CPU.

    Args:
        weights (CrossRWKVWeights): Weights of ``n`` layers.
        spec (StackSpec): Options of the layers.
    """

    def __init__(self, weights: CrossRWKVWeights, spec: StackSpec) -> None:
        decays = weights.decays
        self.spec = spec
        self.weights = _prepack(weights, *decays.w.shape[1:])
        self.decays = dict(
            factors=as_array(_halves(decays.factors[..., :2, :])),
            chunk_decay=as_array(_halves(decays.chunk_decay[..., 0])),
            half_decay=as_array(_halves(decays.half_decay[..., 0])),
            u=as_array(_halves(decays.u)))
        # cache of the last geometry; with masks, each clip has its own
        self._geometry: Any = None
        self._grid: Dict[str, np.ndarray] = {}

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
        (T, B, L, D), n = x.shape, len(self.decays['u'])
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
        pass_layers(
            LayerArgs(
                blas=BLAS,
                residual=self.spec.residual,
                bound=float(getattr(self.spec.cell, 'bound', 0.)),
                x=as_array(x),
                cells=cells,
                e=as_array(e),
                prompt=as_array(e_norm),
                prompt_before=as_array(
                    e_norm[0] if e_norm_before is None else e_norm_before),
                is_first=state is None,
                h_before=as_array(before.h),
                c_before=as_array(before.c),
                x_before=_normed_x(before),
                h=as_array(after.h),
                c=as_array(after.c),
                normed_x=_normed_x(after),
                **self._grid_arrays(geometry, L),
                zeros=np.zeros(D, np.float32),
                **self.weights,
                **self.decays,
                **self._workspaces(T, B, L, D)))
        return StackOutput(x, torch.from_numpy(cells), after)

    def _grid_arrays(self, geometry: Geometry,
                     L: int) -> Dict[str, np.ndarray]:
        """Return neighbours and rotation as arrays."""
        shift, rotation = geometry
        known = self._geometry
        if known is None or known[0] is not shift or known[1] is not rotation:
            K = self.decays['u'].shape[-1]
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
        n, H, C, _, K = self.decays['factors'].shape
        N, threads = -(-L // C), share_threads()
        s = math.ceil(threads / B)
        if 2 * s > T:
            s = math.ceil(threads / (B * N))
        s = min(s, n, T)
        widest = max(self.weights['receptance_gate'].shape[1], 2 * D,
                     self.weights['receptance_key'].shape[2])
        shapes = {
            'inputs': (threads, C * widest),
            'outputs': (threads, C * widest),
            'decayed_r': (threads, C, 2 * K),
            'scores': (threads, 2, C, C),
            'states': (threads, H, 2 * K, K),
            'keys_values': (s, B, L, 2 * D),
            'keys': (s, B, N, H, C, 2 * K),
            'sums': (s, B, H, N, 2 * K, K),
            **dict.fromkeys(('logits', 'difference', 'a', 'normed_a'),
                            (s, B, L, D))
        }
        return {
            name: workspace(name, *shape)
            for name, shape in shapes.items()
        }


def _prepack(weights: CrossRWKVWeights, H: int,
             K: int) -> Dict[str, np.ndarray]:
    """Transpose matrices, and order receptance and key by :func:`_halves`."""
    prompt, step, _ = weights
    none = step.norm_x[:0]

    def matrix(weight: Optional[Tensor]) -> np.ndarray:
        return as_array((none[..., None] if weight is None else weight).mT)

    def split_first_by_halves(weight: Tensor) -> np.ndarray:
        first, second = weight.chunk(2, dim=1)
        first = _halves(first.mT.unflatten(-1, (H, K))).flatten(-2)
        return as_array(torch.cat([first, second.mT], -1))

    def shares(mu: Tensor) -> np.ndarray:
        """Weights of left, right, upper, lower neighbour and the token."""
        direction = torch.arange(H * K) * 4 // K % 4
        taken = torch.arange(4)[:, None] == direction
        mu = mu[:, None]
        return as_array(torch.cat([mu * taken, 1 - mu], 1))

    norms = {
        name: as_array(getattr(step, name))
        for name in step._fields if name.startswith('norm')
    }
    return dict(
        shares_e=shares(prompt.mu),
        key_value=split_first_by_halves(prompt.key_value),
        forget=matrix(prompt.forget),
        forget_bias=as_array(none if prompt.forget_bias is None else
                           prompt.forget_bias),
        shares_x=shares(step.mu_x),
        receptance_gate=split_first_by_halves(step.receptance_gate),
        output=matrix(step.output),
        shares_a=shares(step.mu_a),
        receptance_key=matrix(step.receptance_key),
        value=matrix(step.value),
        **norms)


def _halves(x: Tensor) -> Tensor:
    """Reorder channels ``(..., K)`` to 0, 2, ..., 1, 3, ...

    The channels of a rotary pair are then half a head apart.
    """
    return x.unflatten(-1, (-1, 2)).mT.flatten(-2)


def _normed_x(state: LayerState) -> np.ndarray:
    if state.x is None:  # not part of the state, only needed in this call
        return workspace('normed_x', *state.h.shape)
    return as_array(state.x)
