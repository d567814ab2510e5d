# Copyright (c) The mmlcr authors. All rights reserved.
"""Chunked Bi-WKV equals the equation for any shape, decay and dtype."""
import math
from typing import Callable, Tuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmlcr.ops import bi_wkv, bi_wkv_naive

# what this project promises of float32 against float64, in norm
FLOAT32_TOLERANCE = 1e-5
# some hundred additions of float64 rounding
FLOAT64_TOLERANCE = 1e-12

SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 120), st.integers(1, 3),
    st.integers(1, 9), st.integers(1, 9))
# no decay, decays of any strength, and decays that underflow to zero
DECAYS = st.one_of(
    st.just(0.), st.floats(-8, 6).map(lambda x: -math.exp(x)),
    st.sampled_from([-1e4, -1e30]))


@st.composite
def inputs(draw: st.DrawFn) -> Tuple[Tensor, ...]:
    """``r, k, v, w, u`` in float64, with at most three decays."""
    B, L, H, K, V = draw(SHAPES)
    decays = torch.tensor(
        draw(st.lists(DECAYS, min_size=1, max_size=3)), dtype=torch.float64)
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    r, k = torch.randn(2, B, L, H, K, dtype=torch.float64)
    v = torch.randn(B, L, H, V, dtype=torch.float64)
    w = decays[torch.randint(len(decays), (H, K))]
    u = torch.randn(H, K, dtype=torch.float64)
    return r, k, v, w, u


@pytest.mark.parametrize(
    'dtype, tolerance', [(torch.float64, FLOAT64_TOLERANCE),
                         (torch.float32, FLOAT32_TOLERANCE)],
    ids=['float64', 'float32'])
@given(exact=inputs())
def test_values_and_gradients(dtype: torch.dtype, tolerance: float,
                              exact: Tuple[Tensor, ...],
                              assert_agrees: Callable) -> None:
    """Relative to all gradients, as those of some inputs are tiny."""
    tensors = tuple(t.to(dtype) for t in exact)
    assert_agrees(bi_wkv, bi_wkv_naive, tensors, tolerance, tolerance**2)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
@given(exact=inputs())
def test_half_is_rounded_once(dtype: torch.dtype,
                              exact: Tuple[Tensor, ...]) -> None:
    r, k, v = (t.to(dtype) for t in exact[:3])
    w, u = (t.float() for t in exact[3:])
    y = bi_wkv(r, k, v, w, u)
    expected = bi_wkv_naive(*(t.double() for t in (r, k, v, w, u)))
    assert y.dtype == dtype
    rounding = torch.finfo(dtype).eps / 2 + FLOAT32_TOLERANCE
    # what is smaller than fp16's least normal number is rounded to its step
    least = torch.finfo(dtype).tiny * y.numel()**0.5
    error = (y.double() - expected).norm()
    assert error <= rounding * (expected.norm() + least)


@given(exact=inputs(), data=st.data())
def test_frames_heads_and_order(exact: Tuple[Tensor, ...],
                                data: st.DataObject) -> None:
    """Frames and heads are independent; reversed tokens reverse outputs."""
    r, k, v, w, u = exact
    y = bi_wkv(r, k, v, w, u)
    frames = data.draw(st.permutations(range(len(r))))
    heads = data.draw(st.permutations(range(len(w))))
    moved = (t[frames][:, :, heads] for t in (r, k, v))
    again = bi_wkv(*moved, w[heads], u[heads])
    tolerance = FLOAT64_TOLERANCE * y.norm()
    assert (again - y[frames][:, :, heads]).norm() <= tolerance
    turned = bi_wkv(r.flip(1), k.flip(1), v.flip(1), w, u).flip(1)
    assert (turned - y).norm() <= tolerance
