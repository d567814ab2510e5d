# Copyright (c) The mmlcr authors. All rights reserved.
"""Numba's Bi-WKV with a decay per token, against the naive form."""
from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mmlcr.ops import bi_wkv_tokens

kernels = pytest.importorskip(
    'mmlcr.backends.numba.bi_wkv_tokens',
    reason='needs Numba',
    exc_type=ImportError)
H, K = 2, 16
FLOAT32_TOLERANCE = 1e-6


def read_by_chunks(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor,
                   C: int) -> Tensor:
    """Run the kernels on one frame, chunk by chunk, ``(L, H * K)``."""
    from mmlcr.backends.numba.blas import BLAS
    L = len(r)
    N = -(-L // C)

    def new(*shape: int) -> np.ndarray:  # NaN, so that what is missing shows
        return np.full(shape, np.nan, np.float32)

    r, k, v, w = (t.float().reshape(L, H * K) for t in (r, k, v, w))
    projected = torch.cat([k, v, r], 1).numpy()
    decays = w.exp().numpy()
    cos, sin = np.ones((L, K // 2), 'f'), np.zeros((L, K // 2), 'f')
    sums, totals = new(H, N, 2 * K, K), new(H, N, K)
    y, decayed_r, states = new(L, H * K), new(L, H, 2 * K), new(2 * K, K)
    for m in range(N):
        at = slice(m * C, min(L, m * C + C))
        kernels.read_own_chunk(
            BLAS, projected[at], decays[at], u.float().numpy(), cos[at],
            sin[at], m, N, new(C, C), new(kernels.WORKSPACES, C, K),
            decayed_r[at], sums, totals, y[at])
    for m in range(N):
        at = slice(m * C, min(L, m * C + C))
        for head in range(H):
            rows = slice(0 if m < N - 1 else K, 2 * K if m > 0 else K)
            kernels.gather_chunks(sums[head], totals[head], m, states)
            y[at, head * K:head * K + K] += (
                decayed_r[at, head, rows] @ states[rows])
    return torch.from_numpy(y)


@pytest.mark.parametrize('L, C', [(1, 1), (5, 5), (8, 8), (9, 9), (40, 40),
                                  (53, 53), (37, 13), (128, 32)])
@pytest.mark.parametrize('strength', ['weak', 'strong', 'mixed', 'both'])
def test_is_the_operator(L: int, C: int, strength: str,
                         relative_error: Callable) -> None:
    torch.manual_seed(L)
    r, k, v = torch.randn(3, L, H, K, dtype=torch.float64)
    u = torch.randn(H, K, dtype=torch.float64)
    log = torch.full((L, H, K), 0., dtype=torch.float64)
    log = {'weak': log - 6, 'strong': log + 3, 'mixed': torch.randn_like(log),
           'both': torch.where(torch.rand_like(log) < 0.5, -6., 3.)}[strength]
    w = -log.exp()
    exact = bi_wkv_tokens(*(t[None] for t in (r, k, v, w)), u)[0]
    found = read_by_chunks(r, k, v, w, u, C)
    assert relative_error(found, exact.flatten(1)) < FLOAT32_TOLERANCE


def test_products_of_strong_decays_are_zero() -> None:
    """Denormal numbers would be slow."""
    x, y = (np.full(4, value, 'f') for value in (1e-25, 1e-15))
    out = np.empty_like(x)
    kernels._product_of_decays(x, y, out)
    assert (out == 0).all()
    kernels._decay(x, y)
    assert (x == 0).all()
