# Copyright (c) The mmlcr authors. All rights reserved.
"""The Bi-WKV operator for a chunk of tokens, compiled by Numba.

It is :mod:`mmlcr.ops.bi_wkv` for inference on a CPU in float32, for all heads
of a chunk, which stays in the cache from one product to the next.

Symbols are those of that module; a chunk has ``R <= C`` tokens. The two
channels of a rotary pair are half a head apart, because a loop over each half
is faster than one over adjacent pairs.
"""
import numpy as np
from numpy import float32 as f32

from .blas import compiled, prefer_wide_vectors, product


@compiled
def sum_keys_values(blas: int, key_value: np.ndarray, cos: np.ndarray,
                    sin: np.ndarray, factors: np.ndarray, m: int, N: int,
                    keys: np.ndarray, sums: np.ndarray) -> None:
    """Sum up the keys and values of a chunk for other chunks.

    Args:
        blas (int): Address of BLAS's matrix product.
        key_value (np.ndarray): Keys, then values, shape ``(R, 2D)``; the keys
            are rotated in place.
        cos (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        sin (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        factors (np.ndarray): Decays, shape ``(H, C, 2, K)``.
        m (int): Index of the chunk.
        N (int): Number of chunks.
        keys (np.ndarray): Result: decayed keys, shape ``(H, C, 2K)``.
        sums (np.ndarray): Result: sums for earlier and for later chunks, if
            there are any, shape ``(H, 2K, K)``.
    """
    R = len(key_value)
    H, _, _, K = factors.shape
    start, stop = 0 if m > 0 else K, 2 * K if m < N - 1 else K
    for head in range(H):
        first, last = head * K, (head + 1) * K
        for l in range(R):
            key = key_value[l, first:last]
            turn(key, cos[l], sin[l])
            scale(key, factors[head, l, 0], keys[head, l, :K])
            scale(key, factors[head, l, 1], keys[head, l, K:])
        value = key_value[:, H * K + first:H * K + last]
        if start < stop:
            product(blas, keys[head, :R, start:stop].T, value, f32(0),
                    sums[head, start:stop])


@compiled
def gather_states(sums: np.ndarray, m: int, chunk_decay: np.ndarray,
                  half_decay: np.ndarray, states: np.ndarray) -> None:
    """Sum over all earlier and all later chunks, for one head of a chunk.

    It is :func:`mmlcr.ops.chunks.scan_chunks` for one chunk: each chunk sums
    over the others itself, and does not wait for their states.

    Args:
        sums (np.ndarray): Results of :func:`sum_keys_values` for all chunks,
            shape ``(N, 2K, V)``.
        m (int): Index of the chunk.
        chunk_decay (np.ndarray): Decay over a chunk, shape ``(K, )``.
        half_decay (np.ndarray): Decay over half a chunk, shape ``(K, )``.
        states (np.ndarray): Result, shape ``(2K, V)``: sums over later
            chunks, then over earlier ones.
    """
    prefer_wide_vectors()
    N, K = len(sums), len(chunk_decay)
    for k in range(K):
        later, earlier = states[k], states[K + k]
        later[:] = f32(0)
        earlier[:] = f32(0)
        for n in range(N - 1, m, -1):
            decay_and_add(later, chunk_decay[k], half_decay[k], sums[n, k])
        for n in range(m):
            decay_and_add(earlier, chunk_decay[k], half_decay[k],
                          sums[n, K + k])
        for j in range(len(later)):  # decay to the middle of this chunk
            later[j] *= half_decay[k]
            earlier[j] *= half_decay[k]


@compiled
def read_chunk(blas: int, receptance: np.ndarray, key_value: np.ndarray,
               keys: np.ndarray, states: np.ndarray, cos: np.ndarray,
               sin: np.ndarray, factors: np.ndarray, u: np.ndarray, m: int,
               N: int, decayed_r: np.ndarray, scores: np.ndarray,
               y: np.ndarray) -> None:
    """Compute equation (6) for a chunk.

    Args:
        blas (int): Address of BLAS's matrix product.
        receptance (np.ndarray): Shape ``(R, *)``; the first ``D`` columns are
            receptance, which is rotated in place.
        key_value (np.ndarray): Keys and values after
            :func:`sum_keys_values`, shape ``(R, 2D)``.
        keys (np.ndarray): Its result, shape ``(H, C, 2K)``.
        states (np.ndarray): States of later and of earlier chunks, if there
            are any, shape ``(H, 2K, K)``.
        cos (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        sin (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        factors (np.ndarray): Decays, shape ``(H, C, 2, K)``.
        u (np.ndarray): Bonus, shape ``(H, K)``.
        m (int): Index of the chunk.
        N (int): Number of chunks.
        decayed_r (np.ndarray): Workspace, shape ``(C, 2K)``.
        scores (np.ndarray): Workspace, shape ``(2, C, C)``.
        y (np.ndarray): Result, shape ``(R, D)``.
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
            turn(r, cos[l], sin[l])
            scale(r, factors[head, l, 1], decayed_r[l, :K])
            scale(r, factors[head, l, 0], decayed_r[l, K:])
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
def turn(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """Rotate a head's channels ``(K, )`` by cosine and sine ``(K / 2, )``."""
    prefer_wide_vectors()
    half = len(cos)
    a, b = x[:half], x[half:]
    for j in range(half):
        turned = a[j] * cos[j] - b[j] * sin[j]
        b[j] = a[j] * sin[j] + b[j] * cos[j]
        a[j] = turned


@compiled
def decay_and_add(total: np.ndarray, decay: f32, share: f32,
                  x: np.ndarray) -> None:
    """Compute ``total = decay total + share x`` in place."""
    prefer_wide_vectors()
    for j in range(len(total)):
        total[j] = decay * total[j] + share * x[j]


@compiled
def scale(x: np.ndarray, factor: np.ndarray, out: np.ndarray) -> None:
    """Compute ``out = x factor``, each ``(K, )``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        out[j] = x[j] * factor[j]
