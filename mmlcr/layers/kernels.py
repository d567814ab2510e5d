# Copyright (c) The mmlcr authors. All rights reserved.
"""Cross RWKV layers by chunks of tokens, in functions that Numba compiles.

For inference on a CPU in float32: :mod:`mmlcr.layers.cross_rwkv` once more.
There, a layer's frame is some thirty operations, each of all tokens. Here a
thread takes a chunk of tokens, the operator's, through all that does not wait
for other tokens, so that it stays in the cache: three passes make a layer.

Threads share the layers that are side by side, or, where these do not occupy
all of them, the chunks of each pass.

Symbols as there. ``R`` tokens are in a chunk, of at most ``C``, and ``N``
chunks in a frame. All arrays are contiguous.
"""
from typing import NamedTuple

import numba
import numpy as np
from numpy import float32 as f32

from mmlcr.ops.jit import compiled, kernel, product
from mmlcr.ops.kernels import enter, read, sum_up
from .rows import (
    add,
    copy,
    coupled_cell,
    gated_sum,
    mix,
    norm,
    norm_heads_gate,
    paper_cell,
    square_relu,
    subtract,
)

PASSES = 3  # of a layer; all chunks of one before any of the next


class Work(NamedTuple):
    """All that there is to do, and to do it with, in one piece.

    Numba hands a tuple of tuples to no thread.
    """
    blas: int  # for products
    residual: bool  # a layer gives A + h to the next
    bound: float  # of the paper's cell
    # frames that the layers read, and what they give, in the place of x
    x: np.ndarray  # (T, B, L, D)
    cells: np.ndarray  # (T, B, L, D), result, of the last layer
    e: np.ndarray  # (T, B, L, D)
    prompt: np.ndarray  # (T, B, L, D), e normed
    prompt_before: np.ndarray  # (B, L, D), of the frame before the first
    # state of each layer after the frame before, (n, B, L, D), and result,
    # which may be the same
    fresh: bool  # there was no frame before
    h_before: np.ndarray
    c_before: np.ndarray
    x_before: np.ndarray
    h: np.ndarray
    c: np.ndarray
    normed_x: np.ndarray
    # where the tokens sit
    neighbours: np.ndarray  # (B or 1, L, 4)
    cos: np.ndarray  # (B or 1, L, K / 2)
    sin: np.ndarray
    # weights
    shares_e: np.ndarray  # (n, 5, D), of neighbours and of the token itself
    key_value: np.ndarray  # (n, D or 2D, 2D)
    forget: np.ndarray  # (n or 0, D, D)
    forget_bias: np.ndarray  # (n or 0, D)
    norm_x: np.ndarray  # (n, D), as all norms
    norm_x_bias: np.ndarray
    shares_x: np.ndarray
    norm_h: np.ndarray
    norm_h_bias: np.ndarray
    receptance_gate: np.ndarray  # (n, 2D or 3D, 2D)
    norm_y: np.ndarray
    norm_y_bias: np.ndarray
    output: np.ndarray  # (n, D, D)
    norm_a: np.ndarray
    norm_a_bias: np.ndarray
    shares_a: np.ndarray
    receptance_key: np.ndarray  # (n, D, D + inner)
    value: np.ndarray  # (n, inner, D)
    # decays, as in mmlcr.ops.BiWKVDecays
    factors: np.ndarray  # (n, H, C, 2, K), the first two
    whole: np.ndarray  # (n, H, K)
    half: np.ndarray  # (n, H, K)
    u: np.ndarray  # (n, H, K)
    nothing: np.ndarray  # (D,), in the place of a neighbour that is missing
    # room for each thread
    inputs: np.ndarray  # (threads, C * widest), of a product
    outputs: np.ndarray  # likewise
    asking: np.ndarray  # (threads, C, 2K)
    scores: np.ndarray  # (threads, 2, C, C)
    states: np.ndarray  # (threads, H, 2K, K)
    # room for each of s layers that are side by side
    keys_values: np.ndarray  # (s, B, L, 2D)
    keys: np.ndarray  # (s, B, N, H, C, 2K)
    sums: np.ndarray  # (s, B, H, N, 2K, K)
    logits: np.ndarray  # (s, B, L, D), as all that follow: of forget gates
    difference: np.ndarray
    a: np.ndarray
    normed_a: np.ndarray


@compiled
def pass_layers(work: Work) -> None:
    """All frames through all layers, ``s`` layers side by side.

    A layer is one frame behind the layer below. The lowest of them goes on
    with the next ``s`` layers when it has seen all ``T`` frames, ``T`` of at
    least ``s``.
    """
    T, B = work.x.shape[:2]
    n, s = len(work.u), len(work.a)
    steps = T * ((n + s - 1) // s)  # of each that is side by side
    for step in range(steps + s - 1):
        first, last = max(0, step - steps + 1), min(s, step + 1)
        if (last - first) * B % len(work.inputs) == 0:
            _share_frames(work, step, first, last)
        else:
            for this_pass in range(PASSES):
                _share_chunks(work, step, first, last, this_pass)


@kernel
def _share_frames(work: Work, step: int, first: int, last: int) -> None:
    """Each thread takes frames of its own through a layer."""
    N, B = work.sums.shape[3], work.x.shape[1]
    for t in numba.prange((last - first) * B):
        for this_pass in range(PASSES):
            for m in range(N):
                _pass_chunk(work, step, first + t // B, t % B, m, this_pass)


@kernel
def _share_chunks(work: Work, step: int, first: int, last: int,
                  this_pass: int) -> None:
    """Each thread takes chunks of its own through a pass."""
    N, B = work.sums.shape[3], work.x.shape[1]
    for t in numba.prange((last - first) * B * N):
        _pass_chunk(work, step, first + t // (B * N), t // N % B, t % N,
                    this_pass)


@compiled
def _pass_chunk(work: Work, step: int, place: int, b: int, m: int,
                this_pass: int) -> None:
    """One pass of chunk ``m``."""
    T, n, s = len(work.x), len(work.u), len(work.a)
    i, frame = (step - place) // T * s + place, (step - place) % T
    if i >= n:
        return
    if this_pass == 0:
        _answer(work, i, frame, b, m)
    elif this_pass == 1:
        _ask_spatial(work, i, frame, b, m)
    else:
        _ask_channel(work, i, frame, b, m)


@compiled
def _answer(work: Work, i: int, frame: int, b: int, m: int) -> None:
    """Key, value and forget gate of equation (5), tokens' norm."""
    x, prompt = work.x[frame, b], work.prompt[frame, b]
    earlier = work.prompt[frame - 1, b] if frame > 0 else work.prompt_before[b]
    before, after = work.x_before[i, b], work.normed_x[i, b]
    shares, key_value = work.shares_e[i], work.key_value[i]
    norm_x, norm_x_bias = work.norm_x[i], work.norm_x_bias[i]
    L, D = x.shape
    C, s, where = work.factors.shape[2], i % len(work.a), b % len(work.cos)
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, len(key_value)
    mixed = work.inputs[numba.get_thread_id(), :R * width]
    mixed = mixed.reshape((R, width))
    for l in range(start, stop):
        mix(prompt, l, work.neighbours[where, l], shares, work.nothing,
            mixed[l - start, :D])
        if width > D:
            subtract(prompt[l], earlier[l], mixed[l - start, D:])
    keys_values = work.keys_values[s, b, start:stop]
    product(work.blas, mixed, key_value, f32(0), keys_values)
    sum_up(work.blas, keys_values, work.cos[where, start:stop],
           work.sin[where, start:stop], work.factors[i], m,
           work.sums.shape[3], work.keys[s, b, m], work.sums[s, b, :, m])
    if len(work.forget):
        product(work.blas, work.e[frame, b, start:stop], work.forget[i],
                f32(0), work.logits[s, b, start:stop])
    for l in range(start, stop):
        normed, difference = mixed[l - start, :D], work.difference[s, b, l]
        norm(x[l], norm_x, norm_x_bias, normed)
        if frame > 0:
            subtract(normed, after[l], difference)
        elif work.fresh:
            difference[:] = f32(0)
        else:
            subtract(normed, before[l], difference)
        copy(normed, after[l])


@compiled
def _ask_spatial(work: Work, i: int, frame: int, b: int, m: int) -> None:
    """Equations (4), (6) and (7), and the norm of the result."""
    x, tokens = work.x[frame, b], work.normed_x[i, b]
    past = work.h[i, b] if frame > 0 else work.h_before[i, b]
    shares, receptance_gate = work.shares_x[i], work.receptance_gate[i]
    norm_h, norm_h_bias = work.norm_h[i], work.norm_h_bias[i]
    norm_y, norm_y_bias = work.norm_y[i], work.norm_y_bias[i]
    norm_a, norm_a_bias = work.norm_a[i], work.norm_a_bias[i]
    L, D = x.shape
    H, C = work.factors.shape[1:3]
    s, where, me = i % len(work.a), b % len(work.cos), numba.get_thread_id()
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, len(receptance_gate)
    mixed = work.inputs[me, :R * width].reshape((R, width))
    for l in range(start, stop):
        row = mixed[l - start]
        mix(tokens, l, work.neighbours[where, l], shares, work.nothing,
            row[:D])
        if width > 2 * D:
            copy(work.difference[s, b, l], row[D:2 * D])
        norm(past[l], norm_h, norm_h_bias, row[width - D:])
    asked = work.outputs[me, :R * 2 * D].reshape((R, 2 * D))
    product(work.blas, mixed, receptance_gate, f32(0), asked)  # eq. (4)

    y = work.inputs[me, :R * D].reshape((R, D))
    states = work.states[me]
    for head in range(H):
        enter(work.sums[s, b, head], m, work.whole[i, head],
              work.half[i, head], states[head])
    read(work.blas, asked, work.keys_values[s, b, start:stop],
         work.keys[s, b, m], states,
         work.cos[where, start:stop], work.sin[where, start:stop],
         work.factors[i], work.u[i], m, work.sums.shape[3],
         work.asking[me], work.scores[me], y)  # eq. (6)
    for l in range(R):
        norm_heads_gate(y[l], asked[l, D:], norm_y, norm_y_bias, H)
    added = work.outputs[me, :R * D].reshape((R, D))
    product(work.blas, y, work.output[i], f32(0), added)
    for l in range(start, stop):
        a = work.a[s, b, l]
        add(x[l], added[l - start], a)  # eq. (7)
        norm(a, norm_a, norm_a_bias, work.normed_a[s, b, l])


@compiled
def _ask_channel(work: Work, i: int, frame: int, b: int, m: int) -> None:
    """Equations (8) to (10)."""
    x, e, bound = work.x[frame, b], work.e[frame, b], f32(work.bound)
    before, c, h = work.c_before[i, b], work.c[i, b], work.h[i, b]
    shares, receptance_key = work.shares_a[i], work.receptance_key[i]
    L, D = x.shape
    C, s, me = work.factors.shape[2], i % len(work.a), numba.get_thread_id()
    where, last = b % len(work.neighbours), i == len(work.u) - 1
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, receptance_key.shape[1]
    mixed = work.inputs[me, :R * D].reshape((R, D))
    for l in range(start, stop):
        mix(work.normed_a[s, b], l, work.neighbours[where, l], shares,
            work.nothing, mixed[l - start])
    asked = work.outputs[me, :R * width].reshape((R, width))
    product(work.blas, mixed, receptance_key, f32(0), asked)
    for l in range(R):
        square_relu(asked[l, D:])
    value = work.inputs[me, :R * D].reshape((R, D))
    product(work.blas, asked[:, D:], work.value[i], f32(0), value)
    for l in range(start, stop):
        A = work.a[s, b, l]
        gated_sum(A, asked[l - start, :D], value[l - start])  # eq. (8)
        if frame == 0:
            copy(before[l], c[l])
        if len(work.forget):
            coupled_cell(A, work.logits[s, b, l], work.forget_bias[i], c[l],
                         h[l])
        else:
            paper_cell(A, e[l], bound, c[l], h[l])
        if work.residual:
            add(A, h[l], x[l])
        else:
            copy(h[l], x[l])
        if last:
            copy(c[l], work.cells[frame, b, l])
