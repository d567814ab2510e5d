# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token for a chunk of tokens, compiled by Numba.

It is :mod:`mmlcr.ops.bi_wkv_tokens` for inference on a CPU in float32, for
all heads of a chunk of ``R <= C`` tokens. Decays are factors between zero and
one in place of their logarithms, and a product of decays is always one
between a token and an edge. Pairs of tokens within a block of ``BLOCK`` are
multiplied one by one; larger blocks are merged by matrix products, as there.

The channels of receptance, key and decay are ordered as in
:mod:`mmlcr.backends.numba.bi_wkv`.
"""
import numpy as np
from numpy import float32 as f32

from .bi_wkv import decay_and_add, scale, turn
from .blas import compiled, prefer_wide_vectors, product
from .token_ops import copy

CHUNK_SIZE = 56  # most tokens of a chunk
WORKSPACES = 7  # arrays (C, K)
BLOCK = 8
# Smaller products of decays become zero. Denormal numbers would be slow.
LEAST = f32(1e-30)


@compiled
def read_own_chunk(blas: int, projected: np.ndarray, decay: np.ndarray,
                   u: np.ndarray, cos: np.ndarray, sin: np.ndarray, m: int,
                   N: int, scores: np.ndarray, work: np.ndarray,
                   decayed_r: np.ndarray, sums: np.ndarray,
                   totals: np.ndarray, y: np.ndarray) -> None:
    """Sum over the tokens of a chunk, for each other one and other chunks.

    Args:
        blas (int): Address of BLAS's matrix product.
        projected (np.ndarray): Keys, values, receptance, each of ``D``
            columns, and perhaps more, shape ``(R, *)``.
        decay (np.ndarray): Decays, shape ``(R, D)``.
        u (np.ndarray): Bonus, shape ``(H, K)``.
        cos (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        sin (np.ndarray): Rotation of these tokens, shape ``(R, K / 2)``.
        m (int): Index of the chunk.
        N (int): Number of chunks.
        scores (np.ndarray): Workspace, shape ``(C, C)``.
        work (np.ndarray): Workspace, shape ``(WORKSPACES, C, K)``.
        decayed_r (np.ndarray): Result: receptance that is decayed to the end
            and to the start of the chunk, shape ``(R, H, 2K)``.
        sums (np.ndarray): Of all chunks, shape ``(H, N, 2K, K)``. Result: sums
            of this one for earlier and for later chunks, if there are any.
        totals (np.ndarray): Of all chunks, shape ``(H, N, K)``. Result: decay
            over this one.
        y (np.ndarray): Result: sums over the tokens of the chunk, shape
            ``(R, D)``.
    """
    R = len(projected)
    H, K = u.shape
    D = H * K
    start, stop = 0 if m > 0 else K, 2 * K if m < N - 1 else K
    r, k, d, before, after, ends, decayed_k = (
        work[0], work[1], work[2], work[3], work[4], work[5], work[6])
    score = scores[:R, :R]
    for head in range(H):
        first, last = head * K, (head + 1) * K
        for l in range(R):
            copy(projected[l, 2 * D + first:2 * D + last], r[l])
            copy(projected[l, first:last], k[l])
            copy(decay[l, first:last], d[l])
            turn(r[l], cos[l], sin[l])
            turn(k[l], cos[l], sin[l])
            scores[l, l] = _dot3(r[l], k[l], u[head])
        for block in range(0, R, BLOCK):
            _read_block(r, k, d, block, min(R, block + BLOCK), before, after,
                        ends[block], decayed_k[0], scores)
        _merge_blocks(blas, R, r, k, before, after, ends, d, decayed_k,
                      scores)
        copy(ends[0], totals[head, m])
        value = projected[:, D + first:D + last]
        product(blas, score, value, f32(0), y[:, first:last])
        for l in range(R):
            scale(r[l], after[l], decayed_r[l, head, :K])
            scale(r[l], before[l], decayed_r[l, head, K:])
        if start < K:
            for l in range(R):
                scale(k[l], before[l], decayed_k[l])
            product(blas, decayed_k[:R].T, value, f32(0), sums[head, m, :K])
        if stop > K:
            for l in range(R):
                scale(k[l], after[l], decayed_k[l])
            product(blas, decayed_k[:R].T, value, f32(0), sums[head, m, K:])


@compiled
def _read_block(r: np.ndarray, k: np.ndarray, decay: np.ndarray, start: int,
                stop: int, before: np.ndarray, after: np.ndarray,
                total: np.ndarray, between: np.ndarray,
                score: np.ndarray) -> None:
    """Multiply all pairs of tokens of one block.

    Args:
        r (np.ndarray): Receptance of a head, shape ``(C, K)``.
        k (np.ndarray): Keys, shape ``(C, K)``.
        decay (np.ndarray): Decays, shape ``(C, K)``.
        start (int): The first token.
        stop (int): The token after the last one.
        before (np.ndarray): Result: decay from the start of the block to
            each token, shape ``(C, K)``.
        after (np.ndarray): Result: decay from each token to the end.
        total (np.ndarray): Result: decay over the block, shape ``(K, )``.
        between (np.ndarray): Workspace, shape ``(K, )``.
        score (np.ndarray): Result, shape ``(C, C)``; the diagonal is not
            written.
    """
    before[start, :] = f32(1)
    for l in range(start + 1, stop):
        _product_of_decays(before[l - 1], decay[l - 1], before[l])
    _product_of_decays(before[stop - 1], decay[stop - 1], total)
    after[stop - 1, :] = f32(1)
    for l in range(stop - 2, start - 1, -1):
        _product_of_decays(after[l + 1], decay[l + 1], after[l])
    for i in range(start, stop - 1):
        between[:] = f32(1)
        for l in range(i + 1, stop):
            score[i, l] = _dot3(r[i], k[l], between)
            score[l, i] = _dot3(r[l], k[i], between)
            _decay(between, decay[l])


@compiled
def _merge_blocks(blas: int, R: int, r: np.ndarray, k: np.ndarray,
                  before: np.ndarray, after: np.ndarray, totals: np.ndarray,
                  decayed_r: np.ndarray, decayed_k: np.ndarray,
                  score: np.ndarray) -> None:
    """Merge blocks of tokens, two at a time, to one of all ``R`` tokens.

    Args:
        blas (int): Address of BLAS's matrix product.
        R (int): Number of tokens.
        r (np.ndarray): Receptance of a head, shape ``(C, K)``.
        k (np.ndarray): Keys, shape ``(C, K)``.
        before (np.ndarray): Decay from the start of a block to each of its
            tokens, shape ``(C, K)``; afterwards from the start of the chunk.
        after (np.ndarray): Decay from each token to the end, likewise.
        totals (np.ndarray): Decay over the block that begins with a token,
            shape ``(C, K)``.
        decayed_r (np.ndarray): Workspace, shape ``(C, K)``.
        decayed_k (np.ndarray): Workspace, shape ``(C, K)``.
        score (np.ndarray): Result, shape ``(C, C)``.
    """
    size = BLOCK
    while size < R:
        for start in range(0, R - size, 2 * size):
            edge, stop = start + size, min(R, start + 2 * size)
            for l in range(start, edge):
                scale(r[l], after[l], decayed_r[l])
                scale(k[l], after[l], decayed_k[l])
                _decay(after[l], totals[edge])
            for l in range(edge, stop):
                scale(r[l], before[l], decayed_r[l])
                scale(k[l], before[l], decayed_k[l])
                _decay(before[l], totals[start])
            _decay(totals[start], totals[edge])
            product(blas, decayed_r[start:edge], decayed_k[edge:stop].T,
                    f32(0), score[start:edge, edge:stop])
            product(blas, decayed_r[edge:stop], decayed_k[start:edge].T,
                    f32(0), score[edge:stop, start:edge])
        size *= 2


@compiled
def gather_chunks(sums: np.ndarray, totals: np.ndarray, m: int,
                  states: np.ndarray) -> None:
    """Sum over all earlier and all later chunks, for one head of a chunk.

    Args:
        sums (np.ndarray): Sums of all chunks, shape ``(N, 2K, V)``.
        totals (np.ndarray): Decay over each chunk, shape ``(N, K)``.
        m (int): Index of the chunk.
        states (np.ndarray): Result, shape ``(2K, V)``: sums over later
            chunks, then over earlier ones.
    """
    N, K = totals.shape
    for k in range(K):
        later, earlier = states[k], states[K + k]
        later[:] = f32(0)
        earlier[:] = f32(0)
        for n in range(N - 1, m, -1):
            decay_and_add(later, totals[n, k], f32(1), sums[n, k])
        for n in range(m):
            decay_and_add(earlier, totals[n, k], f32(1), sums[n, K + k])


@compiled
def _dot3(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> f32:
    prefer_wide_vectors()
    total = f32(0)
    for j in range(len(x)):
        total += x[j] * y[j] * z[j]
    return total


@compiled
def _product_of_decays(x: np.ndarray, y: np.ndarray,
                       out: np.ndarray) -> None:
    prefer_wide_vectors()
    for j in range(len(x)):
        p = x[j] * y[j]
        out[j] = f32(0) if p < LEAST else p  # NaN stays


@compiled
def _decay(x: np.ndarray, y: np.ndarray) -> None:
    """Compute :func:`_product_of_decays` in place of ``x``."""
    prefer_wide_vectors()
    for j in range(len(x)):
        p = x[j] * y[j]
        x[j] = f32(0) if p < LEAST else p
