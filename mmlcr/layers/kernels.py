# Copyright (c) The mmlcr authors. All rights reserved.
"""Passes over memory of a layer, each one compiled by Numba.

For inference on a CPU in float32: what stands between two matrix products of
:mod:`mmlcr.layers.cross_rwkv` is one pass here. All arrays are contiguous.
"""
import numba
import numpy as np
from numpy import float32 as f32

from mmlcr.ops.kernels import compiled, kernel
from .stacked import NORM_EPS

EPS = f32(NORM_EPS)
LOG2_E, LN2_HIGH, LN2_LOW = (
    f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4))


@kernel
def norm_mix_difference(x: np.ndarray, norm: np.ndarray, bias: np.ndarray,
                        mu: np.ndarray, table: np.ndarray,
                        before: np.ndarray, h: np.ndarray,
                        norm_h: np.ndarray, bias_h: np.ndarray,
                        normed: np.ndarray, out: np.ndarray) -> None:
    """What receptance and gate are made of, eqs. (3) and (4).

    Args:
        x (np.ndarray): Tokens, ``(n, B, L, D)``.
        norm (np.ndarray): Of their layer norm, ``(n, D)``.
        bias (np.ndarray): Likewise.
        mu (np.ndarray): Share of the neighbours, ``(n, D)``.
        table (np.ndarray): Neighbours, shape ``(B or 1, L, 4H)``.
        before (np.ndarray): Tokens of the frame before, ``(m, B, L, D)``.
        h (np.ndarray): Hidden state, ``(n, B, L, D)``.
        norm_h (np.ndarray): Of its layer norm, ``(n, D)``.
        bias_h (np.ndarray): Likewise.
        normed (np.ndarray): Result, ``(n, B, L, D)``.
        out (np.ndarray): Result, ``(n, B, L, 2D or 3D)``.
    """
    n, B, L, D = x.shape
    width = out.shape[3]
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        _norm(x[i, b, l], norm[i], bias[i], normed[i, b, l])
        _norm(h[i, b, l], norm_h[i], bias_h[i], out[i, b, l, width - D:])
    shares = _shares(mu, table.shape[2])
    nothing = np.zeros(D, f32)
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        row = out[i, b, l]
        _mix(normed[i, b], l, table[b % table.shape[0], l], nothing,
             shares[i], row)
        if width == 3 * D:
            if i < before.shape[0]:
                _subtract(normed[i, b, l], before[i, b, l], row[D:])
            else:  # the first frame
                row[D:2 * D] = f32(0)


@kernel
def mix_difference(normed: np.ndarray, mu: np.ndarray, table: np.ndarray,
                   before: np.ndarray, out: np.ndarray) -> None:
    """What key and value are made of, eqs. (3) and (5).

    Args:
        normed (np.ndarray): Prompt, ``(n, B, L, D)``.
        mu (np.ndarray): Share of the neighbours, ``(n, D)``.
        table (np.ndarray): Neighbours, shape ``(B or 1, L, 4H)``.
        before (np.ndarray): Prompt of the frame before, as ``normed``.
        out (np.ndarray): Result, ``(n, B, L, D or 2D)``.
    """
    n, B, L, D = normed.shape
    shares = _shares(mu, table.shape[2])
    nothing = np.zeros(D, f32)
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        row = out[i, b, l]
        _mix(normed[i, b], l, table[b % table.shape[0], l], nothing,
             shares[i], row)
        if out.shape[3] == 2 * D:
            _subtract(normed[i, b, l], before[i, b, l], row[D:])


@kernel
def add_norm_mix(x: np.ndarray, added: np.ndarray, norm: np.ndarray,
                 bias: np.ndarray, mu: np.ndarray, table: np.ndarray,
                 total: np.ndarray, normed: np.ndarray,
                 out: np.ndarray) -> None:
    """The sum of equation (7), and what equation (8) is made of.

    Args:
        x (np.ndarray): Tokens, as all other ``(n, B, L, D)``.
        added (np.ndarray): To them.
        norm (np.ndarray): Of the sum's layer norm, ``(n, D)``.
        bias (np.ndarray): Likewise.
        mu (np.ndarray): Share of the neighbours, ``(n, D)``.
        table (np.ndarray): Neighbours, shape ``(B or 1, L, 4H)``.
        total (np.ndarray): Result, the sum.
        normed (np.ndarray): The sum normed.
        out (np.ndarray): Result, normed and mixed.
    """
    n, B, L, D = x.shape
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        row, some, more = total[i, b, l], x[i, b, l], added[i, b, l]
        for j in range(D):
            row[j] = some[j] + more[j]
        _norm(row, norm[i], bias[i], normed[i, b, l])
    shares = _shares(mu, table.shape[2])
    nothing = np.zeros(D, f32)
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        _mix(normed[i, b], l, table[b % table.shape[0], l], nothing,
             shares[i], out[i, b, l])


@kernel
def norm_heads_gate(y: np.ndarray, receptance_gate: np.ndarray,
                    norm: np.ndarray, bias: np.ndarray,
                    out: np.ndarray) -> None:
    """``SiLU(g_t) * LN_head(y_t)`` of equation (7); ``y`` has no mean.

    Args:
        y (np.ndarray): In chunks, ``(n, G, C, K)``.
        receptance_gate (np.ndarray): The gate comes last, ``(n, B, L, 2D)``.
        norm (np.ndarray): Of the norm of the heads, ``(n, D)``.
        bias (np.ndarray): Likewise.
        out (np.ndarray): Result, ``(n, B, L, D)``.
    """
    n, B, L, D = out.shape
    C, K = y.shape[2:]
    H = D // K
    N = y.shape[1] // (B * H)
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        row = out[i, b, l]
        for head in range(H):
            read = y[i, (b * H + head) * N + l // C, l % C]
            squares = f32(0)
            for j in range(K):
                squares += read[j] * read[j]
            scale = f32(1) / np.sqrt(squares / f32(K) + EPS)
            for j in range(K):
                row[head * K + j] = read[j] * scale
        gate, weight, offset = receptance_gate[i, b, l, D:], norm[i], bias[i]
        for j in range(D):
            row[j] = ((row[j] * weight[j] + offset[j]) * gate[j] *
                      _sigmoid(gate[j]))


@kernel
def square_relu(receptance_key: np.ndarray, D: int) -> None:
    """``relu(k)^2`` of equation (8), in the place of the key.

    Args:
        receptance_key (np.ndarray): Shape ``(n, B, L, D + inner)``.
        D (int): Where the key begins.
    """
    n, B, L, _ = receptance_key.shape
    for t in numba.prange(n * B * L):
        row = receptance_key[t // (B * L), t // L % B, t % L, D:]
        for j in range(row.shape[0]):
            k = f32(0) if row[j] < f32(0) else row[j]  # NaN stays
            row[j] = k * k


@kernel
def coupled_step(a: np.ndarray, receptance_key: np.ndarray,
                 value: np.ndarray, logit: np.ndarray, bias: np.ndarray,
                 c: np.ndarray, new_c: np.ndarray, h: np.ndarray) -> None:
    """Equations (8) and (10), and the coupled cell.

    Args:
        a (np.ndarray): As all others ``(n, B, L, D)``; becomes ``A_t``.
        receptance_key (np.ndarray): Receptance first, ``(n, B, L, *)``.
        value (np.ndarray): Of the channel mix.
        logit (np.ndarray): Of the forget gate, without its bias.
        bias (np.ndarray): That, ``(n, D)``.
        c (np.ndarray): ``c_{t-1}``.
        new_c (np.ndarray): Result, ``c_t``.
        h (np.ndarray): Result, ``h_t``.
    """
    n, B, L, D = a.shape
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        A, cell = a[i, b, l], new_c[i, b, l]
        _gated_sum(A, receptance_key[i, b, l], value[i, b, l])
        z, offset, past = logit[i, b, l], bias[i], c[i, b, l]
        for j in range(D):
            # tanh(A) = -m / (m + 2), the forget gate is 1 / (1 + q)
            m = _expm1(f32(-2) * A[j])
            q = f32(1) + _expm1(-z[j] - offset[j])
            cell[j] = ((past[j] * (m + f32(2)) - m * q) /
                       ((m + f32(2)) * (f32(1) + q)))
        _hidden(A, cell, h[i, b, l])


@kernel
def paper_step(a: np.ndarray, receptance_key: np.ndarray, value: np.ndarray,
               gate: np.ndarray, bound: f32, c: np.ndarray,
               new_c: np.ndarray, h: np.ndarray) -> None:
    """Equations (8) to (10) with the paper's cell; see above."""
    n, B, L, D = a.shape
    for t in numba.prange(n * B * L):
        i, b, l = t // (B * L), t // L % B, t % L
        A, cell = a[i, b, l], new_c[i, b, l]
        _gated_sum(A, receptance_key[i, b, l], value[i, b, l])
        forget, past = gate[i, b, l], c[i, b, l]
        for j in range(D):
            cell[j] = forget[j] * (_tanh(A[j]) + past[j]) + past[j]
        for j in range(D):
            cell[j] = bound if cell[j] > bound else cell[j]
            cell[j] = -bound if cell[j] < -bound else cell[j]
        _hidden(A, cell, h[i, b, l])


@compiled
def _norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray,
          out: np.ndarray) -> None:
    """Layer norm of one token."""
    D = x.shape[0]
    total = f32(0)
    for j in range(D):
        total += x[j]
    mean = total / f32(D)
    squares = f32(0)
    for j in range(D):
        squares += (x[j] - mean) * (x[j] - mean)
    scale = f32(1) / np.sqrt(squares / f32(D) + EPS)
    for j in range(D):
        out[j] = (x[j] - mean) * scale * weight[j] + bias[j]


@compiled
def _shares(mu: np.ndarray, pieces: int) -> np.ndarray:
    """Of left, right, upper and lower neighbour and of the token itself.

    Args:
        mu (np.ndarray): Share of all neighbours, ``(n, D)``.
        pieces (int): Of a token, ``4H``.

    Returns:
        np.ndarray: Shape ``(n, 5, D)``.
    """
    n, D = mu.shape
    shares = np.zeros((n, 5, D), f32)
    for i in range(n):
        for j in range(D):
            shares[i, j * pieces // D % 4, j] = mu[i, j]
            shares[i, 4, j] = f32(1) - mu[i, j]
    return shares


@compiled
def _mix(x: np.ndarray, l: int, neighbours: np.ndarray, nothing: np.ndarray,
         shares: np.ndarray, out: np.ndarray) -> None:
    """Token ``l`` of ``(L, D)`` with its neighbours.

    All channels of each, most times a share of zero: that is faster than to
    pick those of each direction.
    """
    here = x[l]
    left = x[neighbours[0]] if neighbours[0] >= 0 else nothing
    right = x[neighbours[1]] if neighbours[1] >= 0 else nothing
    upper = x[neighbours[2]] if neighbours[2] >= 0 else nothing
    lower = x[neighbours[3]] if neighbours[3] >= 0 else nothing
    for j in range(shares.shape[1]):
        out[j] = (
            shares[0, j] * left[j] + shares[1, j] * right[j] +
            shares[2, j] * upper[j] + shares[3, j] * lower[j] +
            shares[4, j] * here[j])


@compiled
def _subtract(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    for j in range(x.shape[0]):
        out[j] = x[j] - y[j]


@compiled
def _gated_sum(a: np.ndarray, receptance: np.ndarray,
               value: np.ndarray) -> None:
    """Equation (8), in the place of ``a``."""
    for j in range(a.shape[0]):
        a[j] += _sigmoid(receptance[j]) * value[j]


@compiled
def _hidden(A: np.ndarray, c: np.ndarray, h: np.ndarray) -> None:
    """Equation (10)."""
    for j in range(A.shape[0]):
        m = _expm1(f32(-2) * c[j])  # tanh(c) = -m / (m + 2)
        h[j] = -m / ((m + f32(2)) * (f32(2) + _expm1(-A[j])))


@compiled
def _sigmoid(x: f32) -> f32:
    return f32(1) / (f32(2) + _expm1(-x))


@compiled
def _tanh(x: f32) -> f32:
    m = _expm1(f32(-2) * x)
    return -m / (m + f32(2))


@compiled
def _expm1(x: f32) -> f32:
    """``exp(x) - 1``, with ``x`` of at most 40: so that products are finite.

    ``exp(x) = 2^n exp(r)`` with ``|r| <= log(2) / 2``, and a polynomial for
    ``exp(r) - 1`` (Cephes, S. Moshier, expf).
    """
    x = f32(40) if x > f32(40) else x  # NaN stays
    x = f32(-40) if x < f32(-40) else x
    n = np.floor(x * LOG2_E + f32(0.5))
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r
    power = np.int32((np.int32(n) + 127) << 23).view(f32)
    return power * p + (power - f32(1))
