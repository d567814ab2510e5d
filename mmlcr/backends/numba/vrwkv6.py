# Copyright (c) The mmlcr authors. All rights reserved.
"""Vision-RWKV's layers by chunks of tokens, compiled by Numba.

The equations are those of :class:`mmlcr.layers.VRWKV6Layer`, in four passes
(:mod:`mmlcr.backends.numba.schedule`).

Symbols are those of the layer. A frame has ``N`` chunks, a chunk ``R <= C``
tokens. All arrays are contiguous.
"""
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy import float32 as f32

from mmlcr.layers.vrwkv6 import BRANCHES, PROMPT_BRANCHES
from .bi_wkv_tokens import gather_chunks, read_own_chunk
from .blas import compiled, product
from .schedule import Passes
from .token_ops import (
    accumulate,
    add,
    add_product,
    add_step,
    copy,
    coupled_cell,
    decay,
    gate,
    mix,
    norm,
    norm_heads_gate,
    paper_cell,
    square_relu,
    subtract,
    tanh,
)

NUM_BRANCHES = len(BRANCHES)


class VRWKV6Args(NamedTuple):
    """The arguments of all kernels."""
    blas: int  # address of BLAS's matrix product
    post_norm: int  # whether norms come after the branches
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
    # weights; shares are those of neighbours and token, (n, 5, D)
    shares_base: np.ndarray  # for the mix that all other mixes depend on
    mu: np.ndarray  # (n, branches, D)
    mix_down: np.ndarray  # (n, D, branches * rank)
    mix_up: np.ndarray  # (n, branches, rank, D)
    decay: np.ndarray  # (n, D), of log(-w)
    decay_down: np.ndarray  # (n, D, rank)
    decay_up: np.ndarray  # (n, rank, D)
    u: np.ndarray  # (n, H, K)
    projections: np.ndarray  # (n, 4, D, D), to key, value, receptance, gate
    prompt_weight: np.ndarray  # (n, D, D), like matrices without a comment
    change: np.ndarray  # (n or 0, D, 2D)
    norm_h: np.ndarray  # (n, D), like all norms
    norm_h_bias: np.ndarray
    past: np.ndarray  # (n, D or 2D, 2D)
    norm_x: np.ndarray
    norm_x_bias: np.ndarray
    norm_y: np.ndarray
    norm_y_bias: np.ndarray
    output: np.ndarray
    scale_x: np.ndarray  # (n, D), ones without layer scale
    norm_a: np.ndarray
    norm_a_bias: np.ndarray
    shares_receptance: np.ndarray
    shares_key: np.ndarray
    channel_receptance: np.ndarray
    channel_key: np.ndarray  # (n, D, inner)
    channel_value: np.ndarray  # (n, inner, D)
    scale_a: np.ndarray  # (n, D), ones without layer scale
    forget: np.ndarray  # (n or 0, D, D)
    forget_bias: np.ndarray  # (n or 0, D)
    memory_scale: np.ndarray  # (n, D)
    shares_step: np.ndarray  # (5, D), from a token to its neighbours
    zeros: np.ndarray  # (D,), zeros for a missing neighbour
    # workspace of each thread
    inputs: np.ndarray  # (threads, C * widest), of a product
    outputs: np.ndarray  # (threads, C * widest), of a product
    steps: np.ndarray  # (threads, C, D), from a token to its neighbours
    low: np.ndarray  # (threads, C, branches * rank)
    scores: np.ndarray  # (threads, C, C)
    work: np.ndarray  # (threads, WORKSPACES, C, K)
    states: np.ndarray  # (threads, 2K, K)
    # workspace of each of the s layers that run at once
    sums: np.ndarray  # (s, B, H, N, 2K, K)
    totals: np.ndarray  # (s, B, H, N, K)
    prompted: np.ndarray  # (s, B, L, D), input of keys, values and decays
    decayed_r: np.ndarray  # (s, B, L, H, 2K)
    gates: np.ndarray  # (s, B, L, D)
    y: np.ndarray  # (s, B, L, D)
    logits: np.ndarray  # (s, B, L, D), of forget gates
    difference: np.ndarray  # (s, B, L, D)
    a: np.ndarray  # (s, B, L, D)
    normed_a: np.ndarray  # (s, B, L, D)


@compiled
def _add_prompt(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute normed tokens, with the edge prompt, and forget gates."""
    args: VRWKV6Args = pointer[0]
    x = args.x[frame, b]
    before, after = args.x_before[i, b], args.normed_x[i, b]
    norm_x, norm_x_bias = args.norm_x[i], args.norm_x_bias[i]
    L, D = x.shape
    C, s = args.steps.shape[1], i % len(args.a)
    start, stop = m * C, min(L, m * C + C)
    prompted = args.prompted[s, b]
    projected = args.outputs[numba.get_thread_id(), :(stop - start) * D]
    projected = projected.reshape((stop - start, D))
    product(args.blas, args.prompt[frame, b, start:stop],
            args.prompt_weight[i], f32(0), projected)
    if len(args.forget):
        product(args.blas, args.e[frame, b, start:stop], args.forget[i],
                f32(0), args.logits[s, b, start:stop])
    for l in range(start, stop):
        # the state may be the same memory before and after
        normed, difference = prompted[l], args.difference[s, b, l]
        if args.post_norm:
            copy(x[l], normed)
        else:
            norm(x[l], norm_x, norm_x_bias, normed)
        if frame > 0:
            subtract(normed, after[l], difference)
        elif args.is_first:
            difference[:] = f32(0)
        else:
            subtract(normed, before[l], difference)
        copy(normed, after[l])
        add(after[l], projected[l - start], normed)


@compiled
def _project(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equations (3) and (4), and equation (6) within the chunk."""
    args: VRWKV6Args = pointer[0]
    prompt, tokens = args.prompt[frame, b], args.normed_x[i, b]
    earlier = args.prompt[frame - 1, b] if frame > 0 else args.prompt_before[b]
    past = args.h[i, b] if frame > 0 else args.h_before[i, b]
    norm_h, norm_h_bias = args.norm_h[i], args.norm_h_bias[i]
    L, D = tokens.shape
    C, thread = args.steps.shape[1], numba.get_thread_id()
    s, grid = i % len(args.a), b % len(args.cos)
    start, stop = m * C, min(L, m * C + C)
    R, width = stop - start, args.past.shape[1]
    mixed = args.inputs[thread, :R * D].reshape((R, D))
    outputs = args.outputs[thread]
    projected = outputs[:4 * R * D].reshape((R, 4 * D))
    decays = outputs[4 * R * D:5 * R * D].reshape((R, D))

    mixed_tokens = args.prompted[s, b]
    for branch in range(NUM_BRANCHES):
        if branch == PROMPT_BRANCHES:
            mixed_tokens = tokens
        _mix_branch(args, i, b, m, mixed_tokens, branch, mixed)
        if branch == 0:
            _project_decays(args, i, mixed, outputs[5 * R * D:], decays)
        else:
            product(args.blas, mixed, args.projections[i, branch - 1], f32(0),
                    projected[:, (branch - 1) * D:branch * D])

    if len(args.change):
        change = args.steps[thread, :R]
        for l in range(start, stop):
            subtract(prompt[l], earlier[l], mixed[l - start])
            copy(args.difference[s, b, l], change[l - start])
        product(args.blas, mixed, args.prompt_weight[i], f32(1), change)
        product(args.blas, change, args.change[i], f32(1),
                projected[:, :2 * D])
    wide = args.inputs[thread, :R * width].reshape((R, width))
    for l in range(start, stop):
        if width > D:
            copy(args.difference[s, b, l], wide[l - start, :D])
        norm(past[l], norm_h, norm_h_bias, wide[l - start, width - D:])
    product(args.blas, wide, args.past[i], f32(1), projected[:, 2 * D:])
    if stop == L:
        projected[R - 1, :D] = f32(0)  # CLS is not read
    for l in range(start, stop):
        copy(projected[l - start, 3 * D:], args.gates[s, b, l])
    read_own_chunk(
        args.blas, projected, decays, args.u[i],
        args.cos[grid, start:stop], args.sin[grid, start:stop], m,
        args.sums.shape[3], args.scores[thread], args.work[thread],
        args.decayed_r[s, b, start:stop], args.sums[s, b], args.totals[s, b],
        args.y[s, b, start:stop])


@compiled
def _mix_branch(args: VRWKV6Args, i: int, b: int, m: int, x: np.ndarray,
                branch: int, mixed: np.ndarray) -> None:
    """Mix the tokens of a chunk with their neighbours for one branch.

    Args:
        args (VRWKV6Args): Arguments. ``steps`` and ``low`` are computed for
            the first branch of those with the same tokens.
        i (int): Index of the layer.
        b (int): Index of the clip.
        m (int): Index of the chunk.
        x (np.ndarray): All tokens, shape ``(L, D)``.
        branch (int): The branch.
        mixed (np.ndarray): Result, shape ``(R, D)``.
    """
    C, thread = args.steps.shape[1], numba.get_thread_id()
    R, rank, start = len(mixed), args.mix_up.shape[2], m * C
    steps, low = args.steps[thread], args.low[thread]
    if branch == 0 or branch == PROMPT_BRANCHES:
        last = PROMPT_BRANCHES if branch == 0 else NUM_BRANCHES
        first, stop = branch * rank, last * rank
        for l in range(R):
            neighbours = args.neighbours[b % len(args.neighbours), start + l]
            mix(x, start + l, neighbours, args.shares_base[i], args.zeros,
                mixed[l])
            mix(x, start + l, neighbours, args.shares_step, args.zeros,
                steps[l])
        product(args.blas, mixed, args.mix_down[i, :, first:stop], f32(0),
                low[:R, first:stop])
        for l in range(R):
            tanh(low[l, first:stop])
    product(args.blas, low[:R, branch * rank:(branch + 1) * rank],
            args.mix_up[i, branch], f32(0), mixed)
    for l in range(R):
        add_step(x[start + l], steps[l], args.mu[i, branch], mixed[l])


@compiled
def _project_decays(args: VRWKV6Args, i: int, mixed: np.ndarray,
                    low: np.ndarray, decays: np.ndarray) -> None:
    """Compute the decays of tokens, ``(R, D)``; ``low`` is workspace."""
    R, rank = len(mixed), args.decay_down.shape[2]
    low = low[:R * rank].reshape((R, rank))
    product(args.blas, mixed, args.decay_down[i], f32(0), low)
    for l in range(R):
        tanh(low[l])
    product(args.blas, low, args.decay_up[i], f32(0), decays)
    for l in range(R):
        decay(decays[l], args.decay[i])


@compiled
def _spatial_mix(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equation (6) between chunks, equation (7), and the norm."""
    args: VRWKV6Args = pointer[0]
    x, H = args.x[frame, b], args.u.shape[1]
    norm_y, norm_y_bias = args.norm_y[i], args.norm_y_bias[i]
    norm_a, norm_a_bias = args.norm_a[i], args.norm_a_bias[i]
    L, D = x.shape
    C, N, K = args.steps.shape[1], args.sums.shape[3], D // H
    s, thread = i % len(args.a), numba.get_thread_id()
    start, stop = m * C, min(L, m * C + C)
    first, last = 0 if m < N - 1 else K, 2 * K if m > 0 else K
    y, states = args.y[s, b, start:stop], args.states[thread]
    if first < last:
        for head in range(H):
            gather_chunks(args.sums[s, b, head], args.totals[s, b, head], m,
                          states)
            product(args.blas,
                    args.decayed_r[s, b, start:stop, head, first:last],
                    states[first:last], f32(1),
                    y[:, head * K:(head + 1) * K])
    for l in range(start, stop):
        norm_heads_gate(y[l - start], args.gates[s, b, l], norm_y,
                        norm_y_bias, H)
    added = args.outputs[thread, :(stop - start) * D]
    added = added.reshape((stop - start, D))
    product(args.blas, y, args.output[i], f32(0), added)
    for l in range(start, stop):
        a, branch = args.a[s, b, l], added[l - start]
        normed = args.normed_a[s, b, l]
        if args.post_norm:
            norm(branch, args.norm_x[i], args.norm_x_bias[i], normed)
            add_product(x[l], normed, args.scale_x[i], a)  # eq. (7)
            copy(a, normed)
        else:
            add_product(x[l], branch, args.scale_x[i], a)
            norm(a, norm_a, norm_a_bias, normed)


@compiled
def _channel_mix(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equations (8) to (10)."""
    args: VRWKV6Args = pointer[0]
    x, e, bound = args.x[frame, b], args.e[frame, b], f32(args.bound)
    before, c, h = args.c_before[i, b], args.c[i, b], args.h[i, b]
    L, D = x.shape
    C, s = args.steps.shape[1], i % len(args.a)
    thread, last = numba.get_thread_id(), i == len(args.u) - 1
    grid = b % len(args.neighbours)
    start, stop = m * C, min(L, m * C + C)
    R, inner = stop - start, args.channel_key.shape[2]
    tokens = args.normed_a[s, b]
    mixed = args.inputs[thread, :R * D].reshape((R, D))
    receptance = args.outputs[thread, :R * D].reshape((R, D))
    keys = args.outputs[thread, R * D:R * (D + inner)].reshape((R, inner))
    for l in range(start, stop):
        mix(tokens, l, args.neighbours[grid, l], args.shares_receptance[i],
            args.zeros, mixed[l - start])
    product(args.blas, mixed, args.channel_receptance[i], f32(0), receptance)
    for l in range(start, stop):
        mix(tokens, l, args.neighbours[grid, l], args.shares_key[i],
            args.zeros, mixed[l - start])
    product(args.blas, mixed, args.channel_key[i], f32(0), keys)
    for l in range(R):
        square_relu(keys[l])
    value = mixed
    product(args.blas, keys, args.channel_value[i], f32(0), value)
    for l in range(start, stop):
        A, branch = args.a[s, b, l], value[l - start]
        gate(receptance[l - start], branch)
        if args.post_norm:
            normed = receptance[l - start]
            norm(branch, args.norm_a[i], args.norm_a_bias[i], normed)
            branch = normed
        accumulate(branch, args.scale_a[i], A)  # eq. (8)
        if frame == 0:
            copy(before[l], c[l])
        if len(args.forget):
            coupled_cell(A, args.logits[s, b, l], args.forget_bias[i], c[l],
                         h[l])
        else:
            paper_cell(A, e[l], bound, c[l], h[l])
        add_product(A, h[l], args.memory_scale[i], x[l])
        if last:
            copy(c[l], args.cells[frame, b, l])


PASSES = Passes(_add_prompt, _project, _spatial_mix, _channel_mix)
