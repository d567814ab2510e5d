# Copyright (c) The mmlcr authors. All rights reserved.
"""All layers by :mod:`mmlcr.layers.kernels`, for inference on a CPU."""
import functools
import math
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from mmlcr.ops.jit import BLAS
from .cross_rwkv import Frames, LayerState, LayerWeights, Surroundings
from .kernels import Work, pass_layers
from .scratch import as_array, scratch, share_threads
from .token_shift import Neighbours, TokenShift


class FusedLayers:
    """What :class:`mmlcr.layers.Wavefront` does, in float32 on a CPU.

    Args:
        weights (LayerWeights): Of ``n`` layers.
    """

    def __init__(self, weights: LayerWeights) -> None:
        decays = weights.decays
        self.weights = _laid_out(weights, *decays.w.shape[1:])
        self.decays = dict(
            factors=as_array(_halves(decays.factors[..., :2, :])),
            whole=as_array(_halves(decays.whole[..., 0])),
            half=as_array(_halves(decays.half[..., 0])),
            u=as_array(_halves(decays.u)))

    def __call__(
        self, frames: Frames, before: Optional[LayerState],
        shift: TokenShift, around: Callable[[Neighbours], Surroundings],
        place: Optional[LayerState] = None
    ) -> Tuple[Tensor, Tensor, LayerState]:
        """All frames through all layers, which gives tensors of all frames.

        Args:
            frames (Frames): As all others of :class:`mmlcr.layers.Wavefront`;
                what the last layer gives takes the place of ``x``.
            before (LayerState, optional): Likewise.
            shift (TokenShift): Likewise.
            around (Callable): Likewise.
            place (LayerState, optional): Where the state is to be; may be
                ``before``. Defaults to None: elsewhere.
        """
        x, e, prompt, prompt_before = frames
        (T, B, L, D), n = x.shape, len(self.decays['u'])
        here = around(shift.neighbours(B))
        after = place
        if after is None:
            h, c, normed = x.new_empty(3, n, B, L, D)
            after = LayerState(h, c, normed if here.temporal_shift else None)
        known = before
        if known is None:
            after.h.zero_()
            after.c.zero_()
            known = after
        cells = scratch('cells', *x.shape)
        pass_layers(
            Work(
                blas=BLAS,
                residual=here.residual,
                bound=float(getattr(here.cell, 'bound', 0.)),
                x=as_array(x),
                cells=cells,
                e=as_array(e),
                prompt=as_array(prompt),
                prompt_before=as_array(
                    prompt[0] if prompt_before is None else prompt_before),
                fresh=before is None,
                h_before=as_array(known.h),
                c_before=as_array(known.c),
                x_before=_normed_x(known),
                h=as_array(after.h),
                c=as_array(after.c),
                normed_x=_normed_x(after),
                **_grid(shift.tokens, here.rotation, L,
                        self.decays['u'].shape[-1]),
                nothing=np.zeros(D, np.float32),
                **self.weights,
                **self.decays,
                **self._room(T, B, L, D)))
        return x, torch.from_numpy(cells), after

    def _room(self, T: int, B: int, L: int, D: int) -> Dict[str, np.ndarray]:
        """Memory for as many layers as keep the threads at work."""
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
            'asking': (threads, C, 2 * K),
            'scores': (threads, 2, C, C),
            'states': (threads, H, 2 * K, K),
            'keys_values': (s, B, L, 2 * D),
            'keys': (s, B, N, H, C, 2 * K),
            'sums': (s, B, H, N, 2 * K, K),
            **dict.fromkeys(('logits', 'difference', 'a', 'normed_a'),
                            (s, B, L, D))
        }
        return {name: scratch(name, *shape) for name, shape in shapes.items()}


def _laid_out(weights: LayerWeights, H: int, K: int) -> Dict[str, np.ndarray]:
    """Matrices by rows of inputs, receptance and key by halves of pairs."""
    of_e, of_x, _ = weights
    none = of_x.norm_x[:0]

    def matrix(weight: Optional[Tensor]) -> np.ndarray:
        return as_array((none[..., None] if weight is None else weight).mT)

    def first_by_halves(weight: Tensor) -> np.ndarray:
        first, second = weight.chunk(2, dim=1)
        first = _halves(first.mT.unflatten(-1, (H, K))).flatten(-2)
        return as_array(torch.cat([first, second.mT], -1))

    def shares(mu: Tensor) -> np.ndarray:
        """Of left, right, upper, lower neighbour, and the token itself."""
        direction = torch.arange(H * K) * 4 // K % 4
        taken = torch.arange(4)[:, None] == direction
        mu = mu[:, None]
        return as_array(torch.cat([mu * taken, 1 - mu], 1))

    norms = {
        name: as_array(getattr(of_x, name))
        for name in of_x._fields if name.startswith('norm')
    }
    return dict(
        shares_e=shares(of_e.mu),
        key_value=first_by_halves(of_e.key_value),
        forget=matrix(of_e.forget),
        forget_bias=as_array(none if of_e.forget_bias is None else
                           of_e.forget_bias),
        shares_x=shares(of_x.mu_x),
        receptance_gate=first_by_halves(of_x.receptance_gate),
        output=matrix(of_x.output),
        shares_a=shares(of_x.mu_a),
        receptance_key=matrix(of_x.receptance_key),
        value=matrix(of_x.value),
        **norms)


def _halves(x: Tensor) -> Tensor:
    """Pairs ``(..., K)`` half a head apart: channels 0, 2, ..., 1, 3, ..."""
    return x.unflatten(-1, (-1, 2)).mT.flatten(-2)


def _normed_x(state: LayerState) -> np.ndarray:
    if state.x is None:  # of this frame alone
        return scratch('normed_x', *state.h.shape)
    return as_array(state.x)


@functools.lru_cache(maxsize=64)
def _grid(tokens: Tensor, rotation: Optional[Tensor], L: int,
          K: int) -> Dict[str, np.ndarray]:
    if rotation is None:  # by no angle
        rotation = torch.tensor([1., 0.]).expand(len(tokens), L, 1, K // 2, 2)
    cos, sin = rotation.flatten(1, 2).unbind(-1)
    return {
        'neighbours': tokens.contiguous().numpy(),
        'cos': as_array(cos),
        'sin': as_array(sin)
    }
