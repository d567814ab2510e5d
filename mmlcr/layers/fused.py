# Copyright (c) The mmlcr authors. All rights reserved.
"""All layers by :mod:`mmlcr.layers.kernels`, for inference on a CPU."""
import functools
import math
import threading
from typing import Callable, List, Optional, Tuple

import numba
import numpy as np
import torch
from torch import Tensor

from mmlcr.ops import BiWKVDecays
from mmlcr.ops.jit import find_blas
from mmlcr.ops.kernels import Decays
from .cross_rwkv import LayerState, LayerWeights, Prompt, Surroundings
from .kernels import (
    Frames,
    Grid,
    Options,
    Room,
    State,
    Weights,
    pass_layers,
)
from .token_shift import Neighbours, TokenShift

BLAS = find_blas()


class FusedLayers:
    """What :class:`mmlcr.layers.Wavefront` does, in float32 on a CPU.

    Args:
        weights (LayerWeights): Of ``n`` layers.
        decays (BiWKVDecays): Likewise.
    """

    def __init__(self, weights: LayerWeights, decays: BiWKVDecays) -> None:
        self.weights = _laid_out(weights, *decays.w.shape[1:])
        factors = decays.factors[..., :2, :]
        whole, half = decays.whole[..., 0], decays.half[..., 0]
        self.decays = Decays(*(_array(_halves(t))
                               for t in (factors, whole, half, decays.u)))

    def __call__(
        self, x: Tensor, prompt: Prompt, before: Optional[LayerState],
        shift: TokenShift, around: Callable[[Neighbours], Surroundings],
        place: Optional[LayerState] = None
    ) -> Tuple[List[Tensor], List[Tensor], LayerState]:
        """All frames through all layers.

        Args:
            x (Tensor): As all others of :class:`mmlcr.layers.Wavefront`; what
                the last layer gives takes its place.
            prompt (Prompt): Likewise.
            before (LayerState, optional): Likewise.
            shift (TokenShift): Likewise.
            around (Callable): Likewise.
            place (LayerState, optional): Where the state is to be; may be
                ``before``. Defaults to None: elsewhere.
        """
        (_, B, L, D), n = x.shape, len(self.decays.u)
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
        cells = torch.empty_like(x)
        earlier = prompt.normed if prompt.before is None else prompt.before
        numba.set_num_threads(min(torch.get_num_threads(), _start_threads()))
        pass_layers(
            BLAS, Frames(*map(_array, (x, cells, *prompt[:2], earlier))),
            self.weights, self.decays, _state(known), _state(after),
            before is None, _grid(shift.tokens, here.rotation, L,
                                  self.decays.u.shape[-1]),
            Options(here.residual,
                    float(getattr(here.cell, 'bound', 0.))),
            self._room(B, L, D))
        return list(x.unbind()), list(cells.unbind()), after

    def _room(self, B: int, L: int, D: int) -> Room:
        """Memory for as many layers as keep the threads at work."""
        n, H, C, _, K = self.decays.factors.shape
        N, threads = -(-L // C), numba.get_num_threads()
        s = min(n, math.ceil(threads / (B * N)))
        widest = max(self.weights.receptance_gate.shape[1], 2 * D,
                     self.weights.receptance_key.shape[2])
        frame = s, B, L, D
        return Room(
            _scratch('inputs', threads, C * widest),
            _scratch('outputs', threads, C * widest),
            _scratch('asking', threads, C, 2 * K),
            _scratch('scores', threads, 2, C, C),
            _scratch('key_value', s, B, L, 2 * D),
            _scratch('keys', s, B, N, H, C, 2 * K),
            _scratch('states', s, B, H, N, 2 * K, K),
            *(_scratch(name, *frame)
              for name in ('logits', 'difference', 'a', 'normed')))


def _laid_out(weights: LayerWeights, H: int, K: int) -> Weights:
    """Matrices by rows of inputs, receptance and key by halves of pairs."""
    of_e, of_x = weights
    none = of_x.norm_x[:0]

    def matrix(weight: Optional[Tensor]) -> np.ndarray:
        return _array((none[..., None] if weight is None else weight).mT)

    def first_by_halves(weight: Tensor) -> np.ndarray:
        first, second = weight.chunk(2, dim=1)
        first = _halves(first.mT.unflatten(-1, (H, K))).flatten(-2)
        return _array(torch.cat([first, second.mT], -1))

    def shares(mu: Tensor) -> np.ndarray:
        """Of left, right, upper, lower neighbour, and the token itself."""
        direction = torch.arange(H * K) * 4 // K % 4
        taken = torch.arange(4)[:, None] == direction
        mu = mu[:, None]
        return _array(torch.cat([mu * taken, 1 - mu], 1))

    norms = {
        name: _array(getattr(of_x, name))
        for name in of_x._fields if name.startswith('norm')
    }
    return Weights(
        shares_e=shares(of_e.mu),
        key_value=first_by_halves(of_e.key_value),
        forget=matrix(of_e.forget),
        forget_bias=_array(none if of_e.forget_bias is None else
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


def _array(x: Tensor) -> np.ndarray:
    return x.detach().to(torch.float32).contiguous().numpy()


def _state(state: LayerState) -> State:
    h, c, x = state
    return State(_array(h), _array(c),
                 _scratch('x', *h.shape) if x is None else _array(x))


def _grid(tokens: Tensor, rotation: Optional[Tensor], L: int,
          K: int) -> Grid:
    if rotation is None:  # by no angle
        rotation = torch.tensor([1., 0.]).expand(len(tokens), L, 1, K // 2, 2)
    cos, sin = rotation.flatten(1, 2).unbind(-1)
    return Grid(tokens.contiguous().numpy(), _array(cos), _array(sin))


_of_thread = threading.local()


def _scratch(name: str, *shape: int) -> np.ndarray:
    """Memory to work in, the same whenever there is enough of it.

    So it need not be asked of the system again and again.
    """
    size = math.prod(shape)
    kept = _of_thread.__dict__
    if name not in kept or len(kept[name]) < size:
        kept[name] = torch.empty(size).numpy()  # aligned for the products
    return kept[name][:size].reshape(shape)


@functools.lru_cache(maxsize=None)
def _start_threads() -> int:
    """Start Numba's; returns how many there are.

    They may be PyTorch's, too, and starting them sets the number of both.
    """
    before = torch.get_num_threads()
    started = numba.get_num_threads()
    torch.set_num_threads(before)
    return started
