# Copyright (c) The mmlcr authors. All rights reserved.
"""The order in which Numba's threads run layers, frames and chunks of tokens.

A layer has several passes. In each pass, a thread runs all operations on a
chunk of tokens that do not depend on other chunks of the pass, so that it
stays in the cache. A pass needs all chunks of the previous one.

Threads work on different layers, or on different chunks of each pass if there
are too few layers to occupy all threads.

The passes of each type of layer are one function, which :func:`run_pass_of`
registers under the type of its arguments. These are one flat tuple: Numba
passes no nested ones to threads. The functions here read of them

- ``passes``, the number of passes of a layer;
- ``x``, the input of the layers, shape ``(T, B, L, D)``;
- ``h``, the states of ``n`` layers, shape ``(n, B, L, D)``;
- ``a``, workspace of the ``s`` layers that run at once, shape
  ``(s, B, L, D)``;
- ``sums``, such workspace for ``N`` chunks, shape ``(s, B, H, N, 2K, K)``;
- ``inputs``, workspace of each thread, shape ``(threads, *)``.
"""
from typing import Any, Callable

import numba
from numba.extending import overload

from .blas import OPTIONS, compiled, kernel


def run_pass(args: Any, i: int, frame: int, b: int, m: int,
             this_pass: int) -> None:
    """Run one pass of layer ``i`` for chunk ``m`` of a frame of clip ``b``.

    Kernels call the function that is registered for the type of ``args``.
    """
    raise NotImplementedError


def run_pass_of(kind: type) -> Callable[[Callable], Callable]:
    """Register a function as :func:`run_pass` for one type of arguments."""

    def register(function: Callable) -> Callable:
        passes = compiled(function)

        @overload(run_pass, jit_options=OPTIONS, strict=False)
        def select(args: Any, i: Any, frame: Any, b: Any, m: Any,
                   this_pass: Any) -> Any:
            if getattr(args, 'instance_class', None) is not kind:
                return None
            return lambda args, i, frame, b, m, this_pass: passes(
                args, i, frame, b, m, this_pass)

        return passes

    return register


@compiled
def pass_layers(args: Any) -> None:
    """Run all frames through all layers, ``s`` layers at once.

    Each of ``s`` slots has one layer, which is one frame behind the layer
    below. After all ``T >= s`` frames, a slot continues with the layer ``s``
    above.
    """
    T, B = args.x.shape[:2]
    n, s = len(args.h), len(args.a)
    steps = T * ((n + s - 1) // s)  # of each slot
    for step in range(steps + s - 1):
        first, last = max(0, step - steps + 1), min(s, step + 1)
        if (last - first) * B % len(args.inputs) == 0:
            _share_frames(args, step, first, last)
        else:
            for this_pass in range(args.passes):
                _share_chunks(args, step, first, last, this_pass)


@kernel
def _share_frames(args: Any, step: int, first: int, last: int) -> None:
    """Run all passes of a layer, each thread on other frames."""
    N, B = args.sums.shape[3], args.x.shape[1]
    for t in numba.prange((last - first) * B):
        for this_pass in range(args.passes):
            for m in range(N):
                _pass_chunk(args, step, first + t // B, t % B, m, this_pass)


@kernel
def _share_chunks(args: Any, step: int, first: int, last: int,
                  this_pass: int) -> None:
    """Run one pass of the layers, each thread on other chunks."""
    N, B = args.sums.shape[3], args.x.shape[1]
    for t in numba.prange((last - first) * B * N):
        _pass_chunk(args, step, first + t // (B * N), t // N % B, t % N,
                    this_pass)


@compiled
def _pass_chunk(args: Any, step: int, slot: int, b: int, m: int,
                this_pass: int) -> None:
    """Run one pass of chunk ``m`` of the layer that a slot has."""
    T, n, s = len(args.x), len(args.h), len(args.a)
    i, frame = (step - slot) // T * s + slot, (step - slot) % T
    if i < n:
        run_pass(args, i, frame, b, m, this_pass)
