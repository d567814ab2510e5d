# Copyright (c) The mmlcr authors. All rights reserved.
"""Operations on the channels of one token, compiled by Numba.

They are for inference on a CPU in float32. An array has a token's channels,
``(D, )``, unless documented otherwise. Being one-dimensional, it is known to
be contiguous, and loops are vectorized, unless ``out`` is also an input.
"""
import numpy as np
from numpy import float32 as f32

from mmlcr.layers.common import STRONGEST_DECAY
from mmlcr.ops.batched import NORM_EPS
from .blas import compiled, prefer_wide_vectors

EPS, STRONGEST = f32(NORM_EPS), f32(STRONGEST_DECAY)
LOG2_E, LN2_HIGH, LN2_LOW = (
    f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4))
LARGE = f32(1e17)  # its square is finite, and 1 / LARGE is negligible


@compiled
def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray,
         out: np.ndarray) -> None:
    """Compute the layer norm of one token."""
    prefer_wide_vectors()
    D = len(x)
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
def mix(x: np.ndarray, l: int, neighbours: np.ndarray, shares: np.ndarray,
        zeros: np.ndarray, out: np.ndarray) -> None:
    """Mix a token with its neighbours, equation (3).

    All channels of all neighbours are read, most of them with a weight of
    zero: that is faster than selecting the channels of each direction.

    Args:
        x (np.ndarray): All tokens, shape ``(L, D)``.
        l (int): Index of the token.
        neighbours (np.ndarray): Indices of its left, right, upper and lower
            neighbour; -1 if missing.
        shares (np.ndarray): Weights of these and of the token, ``(5, D)``.
        zeros (np.ndarray): Zeros, for missing neighbours.
        out (np.ndarray): Result.
    """
    prefer_wide_vectors()
    left = x[neighbours[0]] if neighbours[0] >= 0 else zeros
    right = x[neighbours[1]] if neighbours[1] >= 0 else zeros
    upper = x[neighbours[2]] if neighbours[2] >= 0 else zeros
    lower = x[neighbours[3]] if neighbours[3] >= 0 else zeros
    own = x[l]
    for j in range(len(own)):
        out[j] = (
            shares[0, j] * left[j] + shares[1, j] * right[j] +
            shares[2, j] * upper[j] + shares[3, j] * lower[j] +
            shares[4, j] * own[j])


@compiled
def subtract(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Compute ``out = x - y``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j] - y[j]


@compiled
def add(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Compute ``out = x + y``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j] + y[j]


@compiled
def copy(x: np.ndarray, out: np.ndarray) -> None:
    """Copy ``x`` to ``out``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j]


@compiled
def norm_heads_gate(y: np.ndarray, gate: np.ndarray, weight: np.ndarray,
                    bias: np.ndarray, H: int) -> None:
    """Compute ``SiLU(g) * LN_head(y)`` of equation (7) in place of ``y``.

    The mean of each head of ``y`` is zero.
    """
    prefer_wide_vectors()
    D = len(y)
    K = D // H
    for head in range(H):
        part = y[head * K:(head + 1) * K]
        squares = f32(0)
        for j in range(K):
            squares += part[j] * part[j]
        scale = f32(1) / np.sqrt(squares / f32(K) + EPS)
        for j in range(K):
            part[j] *= scale
    for j in range(D):
        y[j] = (y[j] * weight[j] + bias[j]) * gate[j] * _sigmoid(gate[j])


@compiled
def square_relu(k: np.ndarray) -> None:
    """Compute ``relu(k)^2`` of equation (8) in place."""
    prefer_wide_vectors()
    for j in range(len(k)):
        positive = f32(0) if k[j] < f32(0) else k[j]  # NaN stays
        k[j] = positive * positive


@compiled
def gated_sum(a: np.ndarray, receptance: np.ndarray,
              value: np.ndarray) -> None:
    """Add the gated value to ``a`` in place, equation (8)."""
    prefer_wide_vectors()
    for j in range(len(a)):
        a[j] += _sigmoid(receptance[j]) * value[j]


@compiled
def gate(receptance: np.ndarray, value: np.ndarray) -> None:
    """Compute ``value = sigmoid(receptance) value`` in place."""
    prefer_wide_vectors()
    for j in range(len(value)):
        value[j] *= _sigmoid(receptance[j])


@compiled
def add_product(x: np.ndarray, y: np.ndarray, factor: np.ndarray,
                out: np.ndarray) -> None:
    """Compute ``out = x + factor y``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j] + factor[j] * y[j]


@compiled
def accumulate(x: np.ndarray, factor: np.ndarray, total: np.ndarray) -> None:
    """Compute ``total = total + factor x`` in place."""
    prefer_wide_vectors()
    for j in range(len(x)):
        total[j] += factor[j] * x[j]


@compiled
def add_step(x: np.ndarray, step: np.ndarray, mu: np.ndarray,
             share: np.ndarray) -> None:
    """Compute ``share = x + step (mu + share)`` in place."""
    prefer_wide_vectors()
    for j in range(len(x)):
        share[j] = x[j] + step[j] * (mu[j] + share[j])


@compiled
def tanh(x: np.ndarray) -> None:
    """Compute the hyperbolic tangent in place."""
    prefer_wide_vectors()
    for j in range(len(x)):
        x[j] = _tanh(x[j])


@compiled
def decay(x: np.ndarray, base: np.ndarray) -> None:
    """Compute ``exp(w)`` of :func:`mmlcr.layers.common.log_decay` in place.

    It is at least ``exp(-40)``.

    Args:
        x (np.ndarray): The data-dependent part of ``log(-w)``.
        base (np.ndarray): The other part.
    """
    prefer_wide_vectors()
    for j in range(len(x)):
        z = x[j] + base[j]
        z = STRONGEST if z > STRONGEST else z  # NaN stays
        x[j] = f32(1) + _expm1(-(f32(1) + _expm1(z)))


@compiled
def coupled_cell(A: np.ndarray, logit: np.ndarray, bias: np.ndarray,
                 c: np.ndarray, h: np.ndarray) -> None:
    """Compute :class:`mmlcr.layers.CoupledCell` and equation (10)."""
    prefer_wide_vectors()
    for j in range(len(A)):
        a = _expm1(-A[j])
        # tanh(A) = -m / (m + 2), the forget gate is 1 / (1 + q)
        m = a * (a + f32(2))
        m = LARGE if m > LARGE else m
        q = f32(1) + _expm1(-logit[j] - bias[j])
        c[j] = ((c[j] * (m + f32(2)) - m * q) /
                ((m + f32(2)) * (f32(1) + q)))
        m = _expm1(f32(-2) * c[j])
        h[j] = -m / ((m + f32(2)) * (f32(2) + a))


@compiled
def paper_cell(A: np.ndarray, e: np.ndarray, bound: f32,
               c: np.ndarray, h: np.ndarray) -> None:
    """Compute :class:`mmlcr.layers.PaperCell` and equation (10)."""
    prefer_wide_vectors()
    for j in range(len(A)):
        c[j] = e[j] * (_tanh(A[j]) + c[j]) + c[j]
        c[j] = bound if c[j] > bound else c[j]  # NaN stays
        c[j] = -bound if c[j] < -bound else c[j]
        m = _expm1(f32(-2) * c[j])
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
    """Compute ``exp(x) - 1``, with ``|x|`` clamped to 40.

    The clamp keeps products of two results finite. ``exp(x) = 2^n exp(r)``
    with ``|r| <= log(2) / 2``, and a polynomial for ``exp(r) - 1`` (Cephes,
    S. Moshier, expf).
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
