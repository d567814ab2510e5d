# Copyright (c) The mmlcr authors. All rights reserved.
"""The order in which Numba's threads run layers, frames and chunks of tokens.

A layer has several passes. In each pass, a thread runs all operations on a
chunk of tokens that do not depend on other chunks of the pass, so that it
stays in the cache. A pass needs all chunks of the previous one.

Threads work on different layers, or on different chunks of each pass if there
are too few layers to occupy all threads.

A pass is a compiled function of a pointer to its arguments and of the indices
of layer, frame, clip and chunk. The functions here know nothing of these
arguments, and call it by its address: linked into them, it would be optimised
again in each of them, which takes longer than all passes do.
"""
import functools
from typing import Any, Callable, Dict, NamedTuple, Tuple

import numba
import numpy as np
from numba.core import types
from numba.core.registry import cpu_target

from .blas import compiled, kernel, llvm_intrinsic
from .workspace import workspace

INDICES = (types.intp, ) * 4  # of a pass


class Sizes(NamedTuple):
    """What is shared between threads."""
    T: int  # frames
    B: int  # clips
    n: int  # layers
    s: int  # layers that run at once
    N: int  # chunks of a frame
    threads: int


class Passes:
    """Compiled passes, and where their arguments are written.

    Args:
        functions (Callable): Compiled functions of a pointer to arguments,
            layer, frame, clip and chunk.
    """

    def __init__(self, *functions: Any) -> None:
        self.functions = functions
        self._addresses: Dict[Any, np.ndarray] = {}  # by type of arguments

    def bind(self, args: Any) -> Tuple[np.ndarray, int]:
        """Compile the passes for the types of arguments, and write these.

        Args:
            args (NamedTuple): Arguments.

        Returns:
            tuple[np.ndarray, int]: Addresses of the functions and of the
            arguments, until the next call in this thread.
        """
        kind = numba.typeof(args)
        if kind not in self._addresses:
            self._addresses[kind] = self._compile(kind)
        memory = workspace('args', _size(kind) // 4 + 1)
        _write_args(args, memory.ctypes.data)
        return self._addresses[kind], memory.ctypes.data

    def _compile(self, kind: Any) -> np.ndarray:
        parameters = (types.CPointer(kind), *INDICES)
        addresses = []
        for function in self.functions:
            function.compile(parameters)
            result = function.overloads[parameters]
            addresses.append(
                result.library.get_pointer_to_function(
                    result.fndesc.llvm_func_name))
        return np.array(addresses, np.int64)


@functools.lru_cache(maxsize=None)
def _size(kind: Any) -> int:
    """Return the size of arguments of a type, in bytes."""
    context = cpu_target.target_context
    return int(context.get_abi_sizeof(context.get_data_type(kind)))


@llvm_intrinsic
def _write(context: Any, args: Any, address: Any) -> Tuple[Any, Callable]:

    def build(context: Any, builder: Any, signature: Any,
              values: Any) -> Any:
        pointer = context.get_data_type(args).as_pointer()
        context.pack_value(builder, args, values[0],
                           builder.inttoptr(values[1], pointer))
        return context.get_dummy_value()

    return types.void(args, address), build


@compiled
def _write_args(args: Any, address: int) -> None:
    _write(args, address)


@llvm_intrinsic
def _call_pass(context: Any, address: Any, args: Any, i: Any, frame: Any,
               b: Any, m: Any) -> Tuple[Any, Callable]:
    """Call a pass, whose arguments are at the address ``args``."""
    parameters = (types.voidptr, *INDICES)

    def build(context: Any, builder: Any, signature: Any,
              values: Any) -> Any:
        function = context.call_conv.get_function_type(types.void, parameters)
        pointer = context.get_value_type(types.voidptr)
        context.call_conv.call_function(
            builder, builder.inttoptr(values[0], function.as_pointer()),
            types.void, parameters,
            [builder.inttoptr(values[1], pointer), *values[2:]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, *INDICES), build


@compiled
def pass_layers(passes: np.ndarray, args: int, sizes: Sizes) -> None:
    """Run all frames through all layers, ``s`` layers at once.

    Each of ``s`` slots has one layer, which is one frame behind the layer
    below. After all ``T >= s`` frames, a slot continues with the layer ``s``
    above.

    Args:
        passes (np.ndarray): Addresses of a layer's passes.
        args (int): Address of their arguments.
        sizes (Sizes): What is shared between threads.
    """
    T, B, n, s, N, threads = sizes
    steps = T * ((n + s - 1) // s)  # of each slot
    for step in range(steps + s - 1):
        first, last = max(0, step - steps + 1), min(s, step + 1)
        if (last - first) * B % threads == 0:
            _share_frames(passes, args, sizes, step, first, last)
        else:
            for this_pass in range(len(passes)):
                _share_chunks(passes[this_pass:this_pass + 1], args, sizes,
                              step, first, last)


@kernel
def _share_frames(passes: np.ndarray, args: int, sizes: Sizes, step: int,
                  first: int, last: int) -> None:
    """Run all passes of a layer, each thread on other frames."""
    T, B, n, s, N, threads = sizes
    for t in numba.prange((last - first) * B):
        for this_pass in range(len(passes)):
            for m in range(N):
                _pass_chunk(passes[this_pass], args, T, n, s, step,
                            first + t // B, t % B, m)


@kernel
def _share_chunks(passes: np.ndarray, args: int, sizes: Sizes, step: int,
                  first: int, last: int) -> None:
    """Run the first pass of the layers, each thread on other chunks."""
    T, B, n, s, N, threads = sizes
    for t in numba.prange((last - first) * B * N):
        _pass_chunk(passes[0], args, T, n, s, step, first + t // (B * N),
                    t // N % B, t % N)


@compiled
def _pass_chunk(function: int, args: int, T: int, n: int, s: int, step: int,
                slot: int, b: int, m: int) -> None:
    """Run a pass of chunk ``m`` of the layer that a slot has."""
    i, frame = (step - slot) // T * s + slot, (step - slot) % T
    if i < n:
        _call_pass(function, args, i, frame, b, m)


@kernel
def pass_frames(passes: np.ndarray, args: int, T: int, B: int,
                N: int) -> None:
    """Run one pass of all frames, each thread on other chunks."""
    for t in numba.prange(T * B * N):
        _call_pass(passes[0], args, 0, t // (B * N), t // N % B, t % N)
