# Copyright (c) The mmlcr authors. All rights reserved.
"""Matrix products in functions compiled by Numba, against NumPy's."""
import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

blas = pytest.importorskip(
    'mmlcr.backends.numba.blas', reason='needs Numba', exc_type=ImportError)

# sums of 50 products of order one in float32
TOLERANCE = 1e-5


def draw(rows: int, cols: int, transposed: bool, wider: bool) -> np.ndarray:
    """A matrix in row or column order, contiguous or part of a wider one."""
    shape = (cols, rows) if transposed else (rows, cols)
    whole = np.random.randn(shape[0], shape[1] + 3 * wider).astype('float32')
    part = whole[:, :shape[1]]
    return part.T if transposed else part


@pytest.mark.parametrize('beta', [0., 1.])
@pytest.mark.parametrize('wider', [False, True], ids=['whole', 'part'])
@pytest.mark.parametrize('transpose_b', [False, True], ids=['b', 'bT'])
@pytest.mark.parametrize('transpose_a', [False, True], ids=['a', 'aT'])
@pytest.mark.parametrize('size', [(7, 50, 12), (1, 1, 1), (1, 5, 3),
                                  (6, 1, 4)], ids=str)
def test_product_of_views(size: tuple, transpose_a: bool, transpose_b: bool,
                          wider: bool, beta: float) -> None:
    M, K, N = size
    a, b = draw(M, K, transpose_a, wider), draw(K, N, transpose_b, wider)
    whole = np.random.randn(M, N + 3 * wider).astype('float32')
    before = whole.copy()
    if beta == 0:
        whole[:, :N] = np.nan  # is not read
    blas.product(blas.BLAS, a, b, np.float32(beta), whole[:, :N])
    expected = a @ b + beta * before[:, :N]
    np.testing.assert_allclose(whole[:, :N], expected, 0, TOLERANCE)
    np.testing.assert_array_equal(whole[:, N:], before[:, N:])


def test_no_product_is_found_elsewhere(monkeypatch: pytest.MonkeyPatch,
                                       tmp_path: Path) -> None:
    """Then the kernels can't be imported, and LCR uses another backend."""
    monkeypatch.setattr(torch, '__file__', str(tmp_path / '__init__.py'))
    with pytest.raises(ImportError, match='sgemm_'):
        blas.find_blas()


def test_sizes_of_64_bits_are_found_out() -> None:
    """A BLAS with sizes of 64 bits refuses the negative ones."""

    def with_32_bits(*args: Any) -> None:
        M, N, K = (arg._obj.value & 0xffffffff for arg in args[2:5])
        a, b, c = (np.ctypeslib.as_array(
            ctypes.cast(args[index], ctypes.POINTER(ctypes.c_float)),
            (size, )) for index, size in ((6, M * K), (8, K * N),
                                          (11, M * N)))
        c[:] = (b.reshape(N, K) @ a.reshape(K, M)).flatten()

    def with_64_bits(*args: Any) -> None:
        assert all(arg._obj.value < 0 for arg in args[2:5])

    assert blas.takes_32_bits(with_32_bits)
    assert not blas.takes_32_bits(with_64_bits)
