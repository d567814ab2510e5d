# Copyright (c) The mmlcr authors. All rights reserved.
"""Cross RWKV layers by chunks of tokens, compiled by Numba.

The equations are those of :class:`mmlcr.layers.CrossRWKVLayer`, in three
passes (:mod:`mmlcr.backends.numba.schedule`).

Symbols are those of the layer. A frame has ``N`` chunks, a chunk ``R <= C``
tokens. All arrays are contiguous.
"""
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy import float32 as f32

from .bi_wkv import gather_states, read_chunk, sum_keys_values
from .blas import compiled, product
from .schedule import Passes
from .token_ops import (
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


class CrossRWKVArgs(NamedTuple):
    """The arguments of all kernels."""
    blas: int  # address of BLAS's matrix product
    residual: int  # whether a layer's output is A + h instead of h
    bound: float  # of the paper's cell
    # input of the layers; their output overwrites x
    x: np.ndarray  # (T, B, L, D)
    cells: np.ndarray  # (T, B, L, D), result: cells of the last layer
    e: np.ndarray  # (T, B, L, D)
    prompt: np.ndarray  # (T, B, L, D), layer norm of e
    prompt_before: np.ndarray  # (B, L, D), of the frame before the first
    # state of each layer before and after the frames, (n, B, L, D); both may
    # be the same memory
    is_first: int  # whether there is no frame before
    h_before: np.ndarray
    c_before: np.ndarray
    x_before: np.ndarray
    h: np.ndarray
    c: np.ndarray
    normed_x: np.ndarray
    # positions of the tokens
    neighbours: np.ndarray  # (B or 1, L, 4)
    cos: np.ndarray  # (B or 1, L, K / 2)
    sin: np.ndarray
    # weights
    shares_e: np.ndarray  # (n, 5, D), weights of neighbours and token
    key_value: np.ndarray  # (n, D or 2D, 2D)
    forget: np.ndarray  # (n or 0, D, D)
    forget_bias: np.ndarray  # (n or 0, D)
    norm_x: np.ndarray  # (n, D), like all norms
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
    # decays, see mmlcr.ops.BiWKVDecays
    factors: np.ndarray  # (n, H, C, 2, K), the first two factors
    chunk_decay: np.ndarray  # (n, H, K)
    half_decay: np.ndarray  # (n, H, K)
    u: np.ndarray  # (n, H, K)
    zeros: np.ndarray  # (D,), zeros for a missing neighbour
    # workspace of each thread
    inputs: np.ndarray  # (threads, C * widest), of a product
    outputs: np.ndarray  # (threads, C * widest), of a product
    decayed_r: np.ndarray  # (threads, C, 2K)
    scores: np.ndarray  # (threads, 2, C, C)
    states: np.ndarray  # (threads, H, 2K, K)
    # workspace of each of the s layers that run at once
    keys_values: np.ndarray  # (s, B, L, 2D)
    keys: np.ndarray  # (s, B, N, H, C, 2K)
    sums: np.ndarray  # (s, B, H, N, 2K, K)
    logits: np.ndarray  # (s, B, L, D), of forget gates
    difference: np.ndarray
    a: np.ndarray
    normed_a: np.ndarray


@compiled
def _project_prompt(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute keys, values, the forget gate's logit and normed tokens."""
    args: CrossRWKVArgs = pointer[0]
    x, prompt = args.x[frame, b], args.prompt[frame, b]
    earlier = args.prompt[frame - 1, b] if frame > 0 else args.prompt_before[b]
    before, after = args.x_before[i, b], args.normed_x[i, b]
    shares, key_value = args.shares_e[i], args.key_value[i]
    norm_x, norm_x_bias = args.norm_x[i], args.norm_x_bias[i]
    L, D = x.shape
    C, s, grid = args.factors.shape[2], i % len(args.a), b % len(args.cos)
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, len(key_value)
    mixed = args.inputs[numba.get_thread_id(), :R * width]
    mixed = mixed.reshape((R, width))
    for l in range(start, stop):
        mix(prompt, l, args.neighbours[grid, l], shares, args.zeros,
            mixed[l - start, :D])
        if width > D:
            subtract(prompt[l], earlier[l], mixed[l - start, D:])
    keys_values = args.keys_values[s, b, start:stop]
    product(args.blas, mixed, key_value, f32(0), keys_values)
    sum_keys_values(args.blas, keys_values, args.cos[grid, start:stop],
                    args.sin[grid, start:stop], args.factors[i], m,
                    args.sums.shape[3], args.keys[s, b, m],
                    args.sums[s, b, :, m])
    if len(args.forget):
        product(args.blas, args.e[frame, b, start:stop], args.forget[i],
                f32(0), args.logits[s, b, start:stop])
    for l in range(start, stop):
        normed, difference = mixed[l - start, :D], args.difference[s, b, l]
        norm(x[l], norm_x, norm_x_bias, normed)
        if frame > 0:
            subtract(normed, after[l], difference)
        elif args.is_first:
            difference[:] = f32(0)
        else:
            subtract(normed, before[l], difference)
        copy(normed, after[l])


@compiled
def _spatial_mix(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equations (4), (6) and (7), and the norm of the result."""
    args: CrossRWKVArgs = pointer[0]
    x, tokens = args.x[frame, b], args.normed_x[i, b]
    past = args.h[i, b] if frame > 0 else args.h_before[i, b]
    shares, receptance_gate = args.shares_x[i], args.receptance_gate[i]
    norm_h, norm_h_bias = args.norm_h[i], args.norm_h_bias[i]
    norm_y, norm_y_bias = args.norm_y[i], args.norm_y_bias[i]
    norm_a, norm_a_bias = args.norm_a[i], args.norm_a_bias[i]
    L, D = x.shape
    H, C = args.factors.shape[1:3]
    s, grid, thread = i % len(args.a), b % len(args.cos), numba.get_thread_id()
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, len(receptance_gate)
    mixed = args.inputs[thread, :R * width].reshape((R, width))
    for l in range(start, stop):
        row = mixed[l - start]
        mix(tokens, l, args.neighbours[grid, l], shares, args.zeros,
            row[:D])
        if width > 2 * D:
            copy(args.difference[s, b, l], row[D:2 * D])
        norm(past[l], norm_h, norm_h_bias, row[width - D:])
    projected = args.outputs[thread, :R * 2 * D].reshape((R, 2 * D))
    product(args.blas, mixed, receptance_gate, f32(0), projected)  # eq. (4)

    y = args.inputs[thread, :R * D].reshape((R, D))
    states = args.states[thread]
    for head in range(H):
        gather_states(args.sums[s, b, head], m, args.chunk_decay[i, head],
                      args.half_decay[i, head], states[head])
    read_chunk(args.blas, projected, args.keys_values[s, b, start:stop],
               args.keys[s, b, m], states,
               args.cos[grid, start:stop], args.sin[grid, start:stop],
               args.factors[i], args.u[i], m, args.sums.shape[3],
               args.decayed_r[thread], args.scores[thread], y)  # eq. (6)
    for l in range(R):
        norm_heads_gate(y[l], projected[l, D:], norm_y, norm_y_bias, H)
    added = args.outputs[thread, :R * D].reshape((R, D))
    product(args.blas, y, args.output[i], f32(0), added)
    for l in range(start, stop):
        a = args.a[s, b, l]
        add(x[l], added[l - start], a)  # eq. (7)
        norm(a, norm_a, norm_a_bias, args.normed_a[s, b, l])


@compiled
def _channel_mix(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equations (8) to (10)."""
    args: CrossRWKVArgs = pointer[0]
    x, e, bound = args.x[frame, b], args.e[frame, b], f32(args.bound)
    before, c, h = args.c_before[i, b], args.c[i, b], args.h[i, b]
    shares, receptance_key = args.shares_a[i], args.receptance_key[i]
    L, D = x.shape
    C, s = args.factors.shape[2], i % len(args.a)
    thread = numba.get_thread_id()
    grid, last = b % len(args.neighbours), i == len(args.u) - 1
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, receptance_key.shape[1]
    mixed = args.inputs[thread, :R * D].reshape((R, D))
    for l in range(start, stop):
        mix(args.normed_a[s, b], l, args.neighbours[grid, l], shares,
            args.zeros, mixed[l - start])
    projected = args.outputs[thread, :R * width].reshape((R, width))
    product(args.blas, mixed, receptance_key, f32(0), projected)
    for l in range(R):
        square_relu(projected[l, D:])
    value = args.inputs[thread, :R * D].reshape((R, D))
    product(args.blas, projected[:, D:], args.value[i], f32(0), value)
    for l in range(start, stop):
        A = args.a[s, b, l]
        gated_sum(A, projected[l - start, :D], value[l - start])  # eq. (8)
        if frame == 0:
            copy(before[l], c[l])
        if len(args.forget):
            coupled_cell(A, args.logits[s, b, l], args.forget_bias[i], c[l],
                         h[l])
        else:
            paper_cell(A, e[l], bound, c[l], h[l])
        if args.residual:
            add(A, h[l], x[l])
        else:
            copy(h[l], x[l])
        if last:
            copy(c[l], args.cells[frame, b, l])


PASSES = Passes(_project_prompt, _spatial_mix, _channel_mix)
