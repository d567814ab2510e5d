# Copyright (c) The mmlcr authors. All rights reserved.
"""Passes over memory of the operator, each one compiled by Numba.

For inference on a CPU in float32. What :mod:`mmlcr.ops.bi_wkv` does around
its matrix products takes PyTorch a pass for each operation; here it is one.
Shapes are as there; all arrays are contiguous.
"""
from typing import Callable

import numba
import numpy as np
from numpy import float32 as f32

# Sums in any order, a * b + c in one go. NaN and infinity stay what they are.
FAST_MATH = {'reassoc', 'contract', 'nsz', 'arcp'}


def compiled(function: Callable, parallel: bool = False) -> Callable:
    """Compile on the first call, and keep it on the disk where possible."""

    def build(cache: bool) -> Callable:
        return numba.njit(
            function,
            parallel=parallel,
            fastmath=FAST_MATH,
            error_model='numpy',
            cache=cache)

    try:
        return build(cache=True)
    except RuntimeError:  # no folder that can be written to
        return build(cache=False)


def kernel(function: Callable) -> Callable:
    """Compile a function whose ``prange`` is shared among the threads."""
    return compiled(function, parallel=True)


@kernel
def decay_keys(key_value: np.ndarray, factors: np.ndarray,
               rotation: np.ndarray, keys: np.ndarray,
               values: np.ndarray) -> None:
    """Keys turned and times their factors, and values, in chunks.

    Args:
        key_value (np.ndarray): Keys, then values, ``(n, B, L, 2D)``.
        factors (np.ndarray): Shape ``(n, H, C, 3, K)``.
        rotation (np.ndarray): Shape ``(B or 1, L, 1, K / 2, 2)``.
        keys (np.ndarray): Result, ``(n, G, C, 3K)``.
        values (np.ndarray): Result, ``(n, G, C, K)``.
    """
    n, B, L, _ = key_value.shape
    H, C, _, K = factors.shape[1:]
    N = keys.shape[1] // (B * H)
    for t in numba.prange(n * B * N * C):
        i, b, l = t // (B * N * C), t // (N * C) % B, t % (N * C)
        for head in range(H):
            key = keys[i, (b * H + head) * N + l // C, l % C]
            value = values[i, (b * H + head) * N + l // C, l % C]
            if l >= L:
                key[:] = f32(0)
                value[:] = f32(0)
                continue
            row = key_value[i, b, l]
            _turn(row[head * K:(head + 1) * K],
                  rotation[b % rotation.shape[0], l, 0], key)
            factor = factors[i, head, l % C]
            for j in range(K):
                key[2 * K + j] = key[j] * factor[2, j]
                key[K + j] = key[j] * factor[1, j]
                key[j] *= factor[0, j]
            first = (H + head) * K
            for j in range(K):
                value[j] = row[first + j]


@kernel
def decay_receptance(receptance_gate: np.ndarray, factors: np.ndarray,
                     rotation: np.ndarray, asking: np.ndarray) -> None:
    """Receptances turned and times their factors, in chunks.

    Args:
        receptance_gate (np.ndarray): They come first, ``(n, B, L, 2D)``.
        factors (np.ndarray): Shape ``(n, H, C, 3, K)``.
        rotation (np.ndarray): Shape ``(B or 1, L, 1, K / 2, 2)``.
        asking (np.ndarray): Result, ``(n, G, C, 2K)``.
    """
    n, B, L, _ = receptance_gate.shape
    H, C, _, K = factors.shape[1:]
    N = asking.shape[1] // (B * H)
    for t in numba.prange(n * B * N * C):
        i, b, l = t // (B * N * C), t // (N * C) % B, t % (N * C)
        for head in range(H):
            asks = asking[i, (b * H + head) * N + l // C, l % C]
            if l >= L:
                asks[:] = f32(0)
                continue
            _turn(receptance_gate[i, b, l, head * K:(head + 1) * K],
                  rotation[b % rotation.shape[0], l, 0], asks)
            factor = factors[i, head, l % C]
            for j in range(K):
                asks[K + j] = asks[j] * factor[1, j]
                asks[j] *= factor[0, j]


@kernel
def pass_on(sums: np.ndarray, whole: np.ndarray, half: np.ndarray, B: int,
            states: np.ndarray) -> None:
    """As :func:`mmlcr.ops.bi_wkv._pass_on`, into ``states``."""
    n, G, _, V = sums.shape
    H, K = whole.shape[1:3]
    N = G // (B * H)
    for t in numba.prange(n * B * H * 2):
        i, bh, forward = t // (B * H * 2), t // 2 % (B * H), t % 2
        chunk = bh * N if forward else bh * N + N - 1
        step = 1 if forward else -1
        source, target = (K, 0) if forward else (0, K)
        passed = np.zeros((K, V), f32)
        for _ in range(N):
            for k in range(K):
                keep, enter = whole[i, bh % H, k, 0], half[i, bh % H, k, 0]
                own = sums[i, chunk, source + k]
                state, row = states[i, chunk, target + k], passed[k]
                for j in range(V):
                    state[j] = row[j] * enter
                    row[j] = row[j] * keep + own[j] * enter
            chunk += step


@kernel
def join_scores(asking: np.ndarray, keys: np.ndarray, later: np.ndarray,
                score: np.ndarray) -> None:
    """Scores of later tokens and of the token itself beside the earlier's.

    Args:
        asking (np.ndarray): Receptances, ``(n G, C, 2K)``.
        keys (np.ndarray): Keys, ``(n G, C, 3K)``.
        later (np.ndarray): Scores of later tokens, ``(n G, C, C)``.
        score (np.ndarray): Scores of earlier tokens, of the same shape,
            and the result.
    """
    G, C, _ = score.shape
    K = asking.shape[2] // 2
    for t in numba.prange(G * C):
        g, l = t // C, t % C
        r, k, row, other = asking[g, l], keys[g, l], score[g, l], later[g, l]
        own = f32(0)
        for j in range(K):
            own += r[j] * k[2 * K + j]
        row[l] = own
        for j in range(l + 1, C):
            row[j] = other[j]


@compiled
def _turn(x: np.ndarray, rotation: np.ndarray, out: np.ndarray) -> None:
    """Adjacent pairs of ``(K, )`` by cosine and sine, ``(K / 2, 2)``."""
    for j in range(rotation.shape[0]):
        a, b = x[2 * j], x[2 * j + 1]
        cos, sin = rotation[j, 0], rotation[j, 1]
        out[2 * j] = a * cos - b * sin
        out[2 * j + 1] = a * sin + b * cos
