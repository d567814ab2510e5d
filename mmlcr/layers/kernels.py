# Copyright (c) The mmlcr authors. All rights reserved.
"""Cross RWKV layers by chunks of tokens, in functions that Numba compiles.

For inference on a CPU in float32: :mod:`mmlcr.layers.cross_rwkv` once more.
There, a layer's frame is some thirty operations, each of all tokens. Here a
thread takes a chunk of tokens, the operator's, through all that does not wait
for other tokens, so that it stays in the cache: four passes make a layer.

Symbols as there. ``R`` tokens are in a chunk, of at most ``C``, and ``N``
chunks in a frame. All arrays are contiguous.
"""
from typing import NamedTuple

import numba
import numpy as np
from numpy import float32 as f32

from mmlcr.ops.jit import compiled, kernel, product
from mmlcr.ops.kernels import Decays, pass_on, read, sum_up
from .rows import (
    add,
    copy,
    coupled_cell,
    gated_sum,
    hidden_state,
    mix,
    norm,
    norm_heads_gate,
    paper_cell,
    square_relu,
    subtract,
)


class Weights(NamedTuple):
    """Of ``n`` layers."""
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


class Frames(NamedTuple):
    """What the layers read, and write in the place of ``x``."""
    x: np.ndarray  # (T, B, L, D)
    cells: np.ndarray  # (T, B, L, D), result, of the last layer
    e: np.ndarray  # (T, B, L, D), the latest first, as in Prompt
    normed: np.ndarray
    before: np.ndarray


class State(NamedTuple):
    """Of ``n`` layers, as in LayerState."""
    h: np.ndarray  # (n, B, L, D), as all
    c: np.ndarray
    x: np.ndarray


class Grid(NamedTuple):
    """Where the tokens sit."""
    neighbours: np.ndarray  # (B or 1, L, 4)
    cos: np.ndarray  # (B or 1, L, K / 2)
    sin: np.ndarray


class Room(NamedTuple):
    """Memory to work in, of the ``s`` layers that are side by side."""
    inputs: np.ndarray  # (threads, C * widest), of a product
    outputs: np.ndarray  # likewise
    asking: np.ndarray  # (threads, C, 2K)
    scores: np.ndarray  # (threads, 2, C, C)
    key_value: np.ndarray  # (s, B, L, 2D)
    keys: np.ndarray  # (s, B, N, H, C, 2K)
    states: np.ndarray  # (s, B, H, N, 2K, K)
    logits: np.ndarray  # (s, B, L, D), as all that follow: of forget gates
    difference: np.ndarray
    a: np.ndarray
    normed: np.ndarray


class Options(NamedTuple):
    """Of the model."""
    residual: bool
    bound: float  # of the paper's cell


class Step(NamedTuple):
    """Layer ``i`` is at frame ``number - i``."""
    number: int
    first: int  # layer at work
    last: int  # past it


@compiled
def pass_layers(blas: int, frames: Frames, weights: Weights, decays: Decays,
                before: State, after: State, fresh: bool, grid: Grid,
                options: Options, room: Room) -> None:
    """All frames through all layers, some of them side by side.

    Args:
        blas (int): For products.
        frames (Frames): Of ``T`` frames.
        weights (Weights): Of ``n`` layers.
        decays (Decays): Likewise.
        before (State): Of each layer after the frame before.
        after (State): Result; may be the same.
        fresh (bool): Whether there was no frame before.
        grid (Grid): Where the tokens sit.
        options (Options): Of the model.
        room (Room): To work in.
    """
    T, n, side_by_side = len(frames.x), len(decays.u), len(room.a)
    for bottom in range(0, n, side_by_side):
        top = min(n, bottom + side_by_side)
        for number in range(bottom, T + top - 1):
            step = Step(number, max(bottom, number - T + 1),
                        min(top, number + 1))
            answer(blas, frames, weights, decays, before, after, fresh, grid,
                   room, step)
            if room.states.shape[3] > 1:
                pass_states_on(decays, room, step)
            ask_spatial(blas, frames, weights, decays, before, after, grid,
                        room, step)
            ask_channel(blas, frames, weights, decays, before, after, grid,
                        options, room, step)


@kernel
def answer(blas: int, frames: Frames, weights: Weights, decays: Decays,
           before: State, after: State, fresh: bool, grid: Grid, room: Room,
           step: Step) -> None:
    """Key, value and forget gate of equation (5), tokens' norm."""
    x, _, e, prompt, prompt_before = frames
    neighbours, cos, sin = grid
    factors = decays.factors
    shares, key_value_weight = weights.shares_e, weights.key_value
    forget = weights.forget
    norm_x, norm_x_bias = weights.norm_x, weights.norm_x_bias
    past, now = before.x, after.x
    inputs, key_value, keys = room.inputs, room.key_value, room.keys
    states, logits, difference = room.states, room.logits, room.difference
    number, first, last = step

    T, B, L, D = x.shape
    C, N = factors.shape[2], states.shape[3]
    width = key_value_weight.shape[1]
    for t in numba.prange((last - first) * B * N):
        i, b, m = first + t // (B * N), t // N % B, t % N
        s, frame = i % len(logits), number - i
        start, stop = m * C, min(L, m * C + C)
        at, where = T - 1 - frame, b % len(cos)
        mixed = inputs[numba.get_thread_id(), :(stop - start) * width]
        mixed = mixed.reshape((stop - start, width))
        nothing = np.zeros(D, f32)
        for l in range(start, stop):
            mix(prompt[at, b], l, neighbours[where, l], shares[i], nothing,
                mixed[l - start, :D])
            if width > D:
                subtract(prompt[at, b, l], prompt_before[at, b, l],
                         mixed[l - start, D:])
        product(blas, mixed, key_value_weight[i], f32(0),
                key_value[s, b, start:stop])
        sum_up(blas, key_value[s, b, start:stop], cos[where, start:stop],
               sin[where, start:stop], factors[i], keys[s, b, m],
               states[s, b, :, m])
        if len(forget):
            product(blas, e[at, b, start:stop], forget[i], f32(0),
                    logits[s, b, start:stop])
        for l in range(start, stop):
            normed = mixed[l - start, :D]
            norm(x[frame, b, l], norm_x[i], norm_x_bias[i], normed)
            if frame > 0:
                subtract(normed, now[i, b, l], difference[s, b, l])
            elif fresh:
                difference[s, b, l, :] = f32(0)
            else:
                subtract(normed, past[i, b, l], difference[s, b, l])
            copy(normed, now[i, b, l])


@kernel
def pass_states_on(decays: Decays, room: Room, step: Step) -> None:
    """From chunk to chunk."""
    _, whole, half, _ = decays
    states, (_, first, last) = room.states, step
    B, H = states.shape[1:3]
    for t in numba.prange((last - first) * B * H * 2):
        i, b, head = first + t // (B * H * 2), t // (H * 2) % B, t // 2 % H
        pass_on(states[i % len(states), b, head], whole[i, head],
                half[i, head], t % 2 == 1)


@kernel
def ask_spatial(blas: int, frames: Frames, weights: Weights, decays: Decays,
                before: State, after: State, grid: Grid, room: Room,
                step: Step) -> None:
    """Equations (4), (6) and (7), and the norm of the result."""
    x = frames.x
    factors, _, _, u = decays
    neighbours, cos, sin = grid
    shares, receptance_gate = weights.shares_x, weights.receptance_gate
    norm_h, norm_h_bias = weights.norm_h, weights.norm_h_bias
    norm_y, norm_y_bias = weights.norm_y, weights.norm_y_bias
    output = weights.output
    norm_a, norm_a_bias = weights.norm_a, weights.norm_a_bias
    past, now, tokens = before.h, after.h, after.x
    inputs, outputs, asking, scores, key_value, keys, states = room[:7]
    difference, a, normed = room.difference, room.a, room.normed
    number, first, last = step

    T, B, L, D = x.shape
    H, C = factors.shape[1:3]
    N = states.shape[3]
    width = receptance_gate.shape[1]
    for t in numba.prange((last - first) * B * N):
        i, b, m = first + t // (B * N), t // N % B, t % N
        s, frame = i % len(a), number - i
        start, stop = m * C, min(L, m * C + C)
        R, where, me = stop - start, b % len(cos), numba.get_thread_id()
        mixed = inputs[me, :R * width].reshape((R, width))
        nothing = np.zeros(D, f32)
        for l in range(start, stop):
            row = mixed[l - start]
            mix(tokens[i, b], l, neighbours[where, l], shares[i], nothing,
                row[:D])
            if width > 2 * D:
                copy(difference[s, b, l], row[D:2 * D])
            if frame > 0:
                norm(now[i, b, l], norm_h[i], norm_h_bias[i],
                     row[width - D:])
            else:
                norm(past[i, b, l], norm_h[i], norm_h_bias[i],
                     row[width - D:])
        asked = outputs[me, :R * 2 * D].reshape((R, 2 * D))
        product(blas, mixed, receptance_gate[i], f32(0), asked)  # eq. (4)

        y = inputs[me, :R * D].reshape((R, D))
        read(blas, asked, key_value[s, b, start:stop], keys[s, b, m],
             states[s, b, :, m] if N > 1 else states[s, b, :0, m],
             cos[where, start:stop], sin[where, start:stop], factors[i], u[i],
             asking[me], scores[me], y)  # eq. (6)
        for l in range(R):
            norm_heads_gate(y[l], asked[l, D:], norm_y[i], norm_y_bias[i], H)
        added = outputs[me, :R * D].reshape((R, D))
        product(blas, y, output[i], f32(0), added)
        for l in range(start, stop):
            add(x[frame, b, l], added[l - start], a[s, b, l])  # eq. (7)
            norm(a[s, b, l], norm_a[i], norm_a_bias[i], normed[s, b, l])


@kernel
def ask_channel(blas: int, frames: Frames, weights: Weights, decays: Decays,
                before: State, after: State, grid: Grid, options: Options,
                room: Room, step: Step) -> None:
    """Equations (8) to (10)."""
    x, cells, e = frames[:3]
    neighbours = grid.neighbours
    shares, receptance_key = weights.shares_a, weights.receptance_key
    value_weight = weights.value
    forget, forget_bias = weights.forget, weights.forget_bias
    residual, bound = options.residual, f32(options.bound)
    past, h, c = before.c, after.h, after.c
    inputs, outputs, logits = room.inputs, room.outputs, room.logits
    a, normed = room.a, room.normed
    number, first, last = step

    T, B, L, D = x.shape
    n, _, C = decays.factors.shape[:3]
    N = room.states.shape[3]
    width = receptance_key.shape[2]
    for t in numba.prange((last - first) * B * N):
        i, b, m = first + t // (B * N), t // N % B, t % N
        s, frame = i % len(a), number - i
        start, stop = m * C, min(L, m * C + C)
        R, me = stop - start, numba.get_thread_id()
        mixed = inputs[me, :R * D].reshape((R, D))
        nothing = np.zeros(D, f32)
        for l in range(start, stop):
            mix(normed[s, b], l, neighbours[b % len(neighbours), l],
                shares[i], nothing, mixed[l - start])
        asked = outputs[me, :R * width].reshape((R, width))
        product(blas, mixed, receptance_key[i], f32(0), asked)
        for l in range(R):
            square_relu(asked[l, D:])
        value = inputs[me, :R * D].reshape((R, D))
        product(blas, asked[:, D:], value_weight[i], f32(0), value)
        for l in range(start, stop):
            A, cell, hidden = a[s, b, l], c[i, b, l], h[i, b, l]
            gated_sum(A, asked[l - start, :D], value[l - start])  # eq. (8)
            if frame == 0:
                copy(past[i, b, l], cell)
            if len(forget):
                coupled_cell(A, logits[s, b, l], forget_bias[i], cell)
            else:
                paper_cell(A, e[T - 1 - frame, b, l], bound, cell)
            hidden_state(A, cell, hidden)
            if residual:
                add(A, hidden, x[frame, b, l])
            else:
                copy(hidden, x[frame, b, l])
            if i == n - 1:
                copy(cell, cells[frame, b, l])
