# Copyright (c) The mmlcr authors. All rights reserved.
"""Decorators to compile with Numba, and PyTorch's matrix product for it."""
import ctypes
import os.path as osp
from typing import Any, Callable, Dict, Tuple

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy import float32 as f32
from numpy import int32 as i32

# Reordered sums and fused multiply-adds; NaN and infinity are preserved.
FAST_MATH = {'reassoc', 'contract', 'nsz', 'arcp'}
# Without reference counts: for a view of one token they would cost as much as
# the operations on it. So no function can allocate an array.
OPTIONS: Dict[str, Any] = dict(
    fastmath=FAST_MATH, error_model='numpy', _nrt=False)
# Only explicit prange loops are parallel, and they are not fused.
PRANGE = dict(prange=True, fusion=False, comprehension=False, reduction=False,
              inplace_binop=False, setitem=False, numpy=False, stencil=False)
LIBRARIES = 'libtorch_cpu.so', 'libtorch_cpu.dylib', 'torch_cpu.dll'
NOT_TRANSPOSED, TRANSPOSED = np.uint8(ord('N')), np.uint8(ord('T'))


def compiled(function: Callable, parallel: Any = False) -> Callable:
    """Compile a function on its first call, with a cache on disk if possible.

    Args:
        function (Callable): The function.
        parallel (bool | dict): Numba's option. Defaults to False.
    """

    def build(cache: bool) -> Callable:
        return numba.njit(
            function, parallel=parallel, cache=cache, **OPTIONS)

    try:
        return build(cache=True)
    except RuntimeError:  # no writable folder for the cache
        return build(cache=False)


def kernel(function: Callable) -> Callable:
    """Compile a function whose ``prange`` runs on all threads."""
    return compiled(function, parallel=PRANGE)


def llvm_intrinsic(write: Callable) -> Any:
    """Make a Numba intrinsic of a function that emits LLVM code."""
    return intrinsic(write)


def find_blas() -> int:
    """Return the address of ``sgemm_`` in PyTorch's libraries.

    Raises:
        ImportError: If the libraries lack it, or it takes sizes of 64 bits.
    """
    folder = osp.join(osp.dirname(torch.__file__), 'lib')
    for name in LIBRARIES:
        path = osp.join(folder, name)
        if osp.exists(path):
            function = getattr(ctypes.CDLL(path), 'sgemm_', None)
            if function is not None:
                address = ctypes.cast(function, ctypes.c_void_p).value
                assert address is not None
                if not takes_32_bits(function):
                    raise ImportError(f'{name}: sgemm_ does not take sizes of '
                                      '32 bits')
                return address
    raise ImportError('no sgemm_ in the libraries of PyTorch')


def takes_32_bits(sgemm: Any) -> bool:
    """Try a small product whose sizes are negative if read as 64 bits.

    BLAS refuses negative sizes, and does not write the result.

    Args:
        sgemm (Callable): BLAS's matrix product, loaded by ctypes.
    """
    a = np.arange(1, 7, dtype=np.float32)  # (2, 3) by columns
    b = np.arange(7, 13, dtype=np.float32)  # (3, 2) by columns
    c = np.zeros(4, np.float32)
    sizes = {n: ctypes.c_int64(n - 2**32) for n in (2, 3)}
    two, three = (ctypes.byref(sizes[n]) for n in (2, 3))
    no_transpose = ctypes.byref(ctypes.c_char(b'N'))
    one, zero = (ctypes.byref(ctypes.c_float(x)) for x in (1., 0.))
    sgemm(no_transpose, no_transpose, two, two, three, one, a.ctypes, two,
          b.ctypes, three, zero, c.ctypes, two)
    expected = b.reshape(2, 3) @ a.reshape(3, 2)
    return bool((c.reshape(2, 2) == expected).all())


BLAS = find_blas()


@llvm_intrinsic
def prefer_wide_vectors(context: Any) -> Tuple[Any, Callable]:
    """Make LLVM use vectors of 512 bits in the calling function.

    By default it uses half of that on most machines that have them. The matrix
    products use such vectors anyway.
    """

    def build(context: Any, builder: Any, signature: Any,
              values: Any) -> Any:
        # bypasses the check of llvmlite, which lacks the attribute
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), build


@compiled
def product(blas: int, a: np.ndarray, b: np.ndarray, beta: f32,
            out: np.ndarray) -> None:
    """Compute ``out = a b + beta out`` on the calling thread.

    All matrices are float32, with contiguous rows or columns.

    Args:
        blas (int): Result of :func:`find_blas`.
        a (np.ndarray): Shape ``(M, K)``.
        b (np.ndarray): Shape ``(K, N)``.
        beta (float): Zero or one.
        out (np.ndarray): Shape ``(M, N)``, with contiguous rows.
    """
    # BLAS is column-major: out^T = b^T a^T
    transpose_a, stride_a = _order(a)
    transpose_b, stride_b = _order(b)
    _sgemm(blas, transpose_b, transpose_a, i32(b.shape[1]), i32(a.shape[0]),
           i32(a.shape[1]), f32(1), b.ctypes.data, stride_b, a.ctypes.data,
           stride_a, beta, out.ctypes.data, i32(out.strides[0] // 4))


@compiled
def _order(matrix: np.ndarray) -> Tuple[np.uint8, np.int32]:
    """Return BLAS's transposition and stride of a matrix."""
    rows, cols = matrix.shape  # a single row or column may have any stride
    if matrix.strides[1] == 4:
        return NOT_TRANSPOSED, i32(max(cols, matrix.strides[0] // 4))
    return TRANSPOSED, i32(max(rows, matrix.strides[1] // 4))


@llvm_intrinsic
def _sgemm(context: Any, address: Any, transpose_a: Any, transpose_b: Any,
           M: Any, N: Any, K: Any, alpha: Any, a: Any, stride_a: Any, b: Any,
           stride_b: Any, beta: Any, c: Any,
           stride_c: Any) -> Tuple[Any, Callable]:
    """Call BLAS's ``sgemm_``, which takes all arguments by reference."""
    char, size, real, pointer = (types.uint8, types.int32, types.float32,
                                 types.uintp)
    signature = types.void(types.int64, char, char, size, size, size, real,
                           pointer, size, pointer, size, real, pointer, size)

    def build(context: Any, builder: Any, signature: Any,
              values: Any) -> Any:
        reference = ir.IntType(8).as_pointer()
        pointers = []
        for kind, value in zip(signature.args[1:], values[1:]):
            if kind is pointer:
                pointers.append(builder.inttoptr(value, reference))
            else:
                stored = cgutils.alloca_once_value(builder, value)
                pointers.append(builder.bitcast(stored, reference))
        function = ir.FunctionType(ir.VoidType(), [reference] * len(pointers))
        builder.call(
            builder.inttoptr(values[0], function.as_pointer()), pointers)
        return context.get_dummy_value()

    return signature, build
