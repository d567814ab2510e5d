# Copyright (c) The mmlcr authors. All rights reserved.
"""The Bi-WKV operator of a chunk of tokens, compiled by Numba.

For inference on a CPU in float32: :mod:`mmlcr.ops.bi_wkv` once more, for all
heads of a chunk, which stays in the cache from one product to the next.

Symbols as there. ``R`` tokens are in a chunk, of at most ``C``. Of a head's
channels, those that rotary position turns together are half a head apart: one
loop over each half is faster than one over pairs.
"""
import numpy as np
from numpy import float32 as f32

from .blas import compiled, prefer_wide_vectors, product


@compiled
def sum_keys_values(blas: int, key_value: np.ndarray, cos: np.ndarray,
                    sin: np.ndarray, factors: np.ndarray, m: int, N: int,
                    keys: np.ndarray, sums: np.ndarray) -> None:
    """What a chunk's keys and values are to other chunks.

    Args:
        blas (int): For products.
        key_value (np.ndarray): Keys, then values, shape ``(R, 2D)``; the keys
            are turned in their place.
        cos (np.ndarray): Of these tokens, shape ``(R, K / 2)``.
        sin (np.ndarray): Likewise.
        factors (np.ndarray): Shape ``(H, C, 2, K)``.
        m (int): Which chunk.
        N (int): Of how many.
        keys (np.ndarray): Result, shape ``(H, C, 2K)``.
        sums (np.ndarray): Result, shape ``(H, 2K, K)``, for earlier and for
            later chunks, where there are any.
    """
    R = len(key_value)
    H, _, _, K = factors.shape
    start, stop = 0 if m > 0 else K, 2 * K if m < N - 1 else K
    for head in range(H):
        first, last = head * K, (head + 1) * K
        for l in range(R):
            key = key_value[l, first:last]
            _turn(key, cos[l], sin[l])
            _scale(key, factors[head, l, 0], keys[head, l, :K])
            _scale(key, factors[head, l, 1], keys[head, l, K:])
        value = key_value[:, H * K + first:H * K + last]
        if start < stop:
            product(blas, keys[head, :R, start:stop].T, value, f32(0),
                    sums[head, start:stop])


@compiled
def gather_states(sums: np.ndarray, m: int, chunk_decay: np.ndarray, half_decay: np.ndarray,
                  states: np.ndarray) -> None:
    """What comes to a chunk from earlier and from later ones, of one head.

    As :func:`mmlcr.ops.chunks.pass_on`, for one chunk: each adds up itself
    all that comes to it, and waits for no other.

    Args:
        sums (np.ndarray): Of all chunks, by :func:`sum_up`, ``(N, 2K, V)``.
        m (int): Which chunk.
        whole (np.ndarray): Decay of a chunk, shape ``(K, )``.
        half (np.ndarray): Of half a chunk.
        states (np.ndarray): Result, shape ``(2K, V)``: of later chunks, then
            of earlier ones.
    """
    prefer_wide_vectors()
    N, K = len(sums), len(chunk_decay)
    for k in range(K):
        later, earlier = states[k], states[K + k]
        later[:] = f32(0)
        earlier[:] = f32(0)
        for n in range(N - 1, m, -1):
            _decay_and_add(later, chunk_decay[k], half_decay[k], sums[n, k])
        for n in range(m):
            _decay_and_add(earlier, chunk_decay[k], half_decay[k], sums[n, K + k])
        for j in range(len(later)):  # to the middle of this one
            later[j] *= half_decay[k]
            earlier[j] *= half_decay[k]


@compiled
def read_chunk(blas: int, receptance: np.ndarray, key_value: np.ndarray,
               keys: np.ndarray, states: np.ndarray, cos: np.ndarray,
               sin: np.ndarray, factors: np.ndarray, u: np.ndarray, m: int, N: int,
               decayed_r: np.ndarray, scores: np.ndarray, y: np.ndarray) -> None:
    """Equation (6).

    Args:
        blas (int): For products.
        receptance (np.ndarray): Receptances first, ``(R, *)``; they are
            turned in their place.
        key_value (np.ndarray): As :func:`sum_up` left it.
        keys (np.ndarray): Likewise.
        states (np.ndarray): Of later and of earlier chunks,
            ``(H, 2K, K)``, where there are any.
        cos (np.ndarray): Of these tokens, shape ``(R, K / 2)``.
        sin (np.ndarray): Likewise.
        factors (np.ndarray): Shape ``(H, C, 2, K)``.
        u (np.ndarray): Bonus, ``(H, K)``.
        m (int): Which chunk.
        N (int): Of how many.
        decayed_r (np.ndarray): To work in, ``(C, 2K)``.
        scores (np.ndarray): Likewise, ``(2, C, C)``.
        y (np.ndarray): Result, ``(R, D)``.
    """
    R = len(receptance)
    H, _, _, K = factors.shape
    start, stop = 0 if m < N - 1 else K, 2 * K if m > 0 else K
    decayed_r = decayed_r[:R]
    score, later = scores[0, :R, :R], scores[1, :R, :R]
    for head in range(H):
        first, last = head * K, (head + 1) * K
        for l in range(R):
            r = receptance[l, first:last]
            _turn(r, cos[l], sin[l])
            _scale(r, factors[head, l, 1], decayed_r[l, :K])
            _scale(r, factors[head, l, 0], decayed_r[l, K:])
        product(blas, decayed_r[:, K:], keys[head, :R, K:].T, f32(0), score)
        product(blas, decayed_r[:, :K], keys[head, :R, :K].T, f32(0), later)
        for l in range(R):
            r, k = receptance[l, first:last], key_value[l, first:last]
            own = f32(0)
            for j in range(K):
                own += r[j] * k[j] * u[head, j]
            row, other = scores[0, l], scores[1, l]
            row[l] = own
            for j in range(l + 1, R):
                row[j] = other[j]
        out = y[:, first:last]
        value = key_value[:, H * K + first:H * K + last]
        product(blas, score, value, f32(0), out)
        if start < stop:
            product(blas, decayed_r[:, start:stop], states[head, start:stop],
                    f32(1), out)


@compiled
def _turn(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """Turn a head's channels ``(K, )``, by cosine and sine ``(K / 2, )``."""
    prefer_wide_vectors()
    half = len(cos)
    a, b = x[:half], x[half:]
    for j in range(half):
        turned = a[j] * cos[j] - b[j] * sin[j]
        b[j] = a[j] * sin[j] + b[j] * cos[j]
        a[j] = turned


@compiled
def _decay_and_add(total: np.ndarray, decay: f32, share: f32,
                   x: np.ndarray) -> None:
    """``total = decay total + share x``."""
    prefer_wide_vectors()
    for j in range(len(total)):
        total[j] = decay * total[j] + share * x[j]


@compiled
def _scale(x: np.ndarray, factor: np.ndarray, out: np.ndarray) -> None:
    """``(K, )`` times another."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j] * factor[j]
