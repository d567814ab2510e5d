# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token, against the equation and constant decay."""
import functools
from typing import Callable, Tuple

import pytest
import torch
from torch import Tensor

from mmlcr.ops import bi_wkv, bi_wkv_naive, bi_wkv_tokens

FLOAT32_TOLERANCE = 1e-5  # promised of float32 against float64, in norm
# a few hundred additions of float64 rounding, 1e-16 each
FLOAT64_TOLERANCE = 1e-13
DECAYS = ('weak', 'mixed', 'strong', 'wild', 'walls')


def log_decays(kind: str, *shape: int) -> Tensor:
    """Draw log-decays of each token and channel, float64."""
    uniform = torch.rand(*shape, dtype=torch.float64)
    if kind == 'weak':
        return -torch.exp(-6 + 2 * uniform)
    if kind == 'mixed':
        return -torch.exp(-6 + 7 * uniform)
    if kind == 'strong':
        return -10 - 4 * uniform
    if kind == 'wild':  # from what never forgets to what forgets all
        return -torch.exp(-12 + 24 * uniform)
    # weak ones that follow one that forgets all, or nearly all
    walls = -torch.exp(-6 + 2 * uniform)
    walls[:, 2::5] = -1e4
    walls[:, 4::9] = -12.
    return walls


def draw(B: int, L: int, H: int, K: int, V: int = 0, decay: str = 'mixed',
         dtype: torch.dtype = torch.float64) -> Tuple[Tensor, ...]:
    """Random ``r, k, v, w, u``."""
    r, k = torch.randn(2, B, L, H, K, dtype=torch.float64)
    v = torch.randn(B, L, H, V or K, dtype=torch.float64)
    u = torch.randn(H, K, dtype=torch.float64)
    w = log_decays(decay, B, L, H, K)
    return tuple(t.to(dtype) for t in (r, k, v, w, u))


@pytest.mark.parametrize('decay', DECAYS)
@pytest.mark.parametrize('L', [1, 2, 7, 16, 17, 49, 197],
                         ids=lambda L: f'B2-L{L}-H2-K8')
def test_chunked_is_naive(L: int, decay: str,
                          assert_agrees: Callable) -> None:
    inputs = draw(2, L, 2, 8, decay=decay, dtype=torch.float32)
    assert_agrees(bi_wkv, bi_wkv_naive, inputs, FLOAT32_TOLERANCE)


@pytest.mark.parametrize('chunk_size', [1, 2, 16, 64])
def test_chunks_do_not_show(chunk_size: int, assert_agrees: Callable) -> None:
    function = functools.partial(bi_wkv_tokens, chunk_size=chunk_size)
    assert_agrees(function, bi_wkv_naive, draw(2, 37, 2, 8, 5, decay='walls'),
                  FLOAT64_TOLERANCE)


@pytest.mark.parametrize('function', [bi_wkv, bi_wkv_naive])
def test_every_token_reads_every_other(function: Callable,
                                       relative_error: Callable) -> None:
    """With one-hot values the output is the matrix of weights."""
    B, L, H, K = 2, 37, 2, 8
    r, k, _, w, u = draw(B, L, H, K, decay='weak')
    v = torch.eye(L, dtype=torch.float64)[None, :, None].expand(B, -1, H, -1)
    expected = torch.zeros(B, L, H, L, dtype=torch.float64)
    for target in range(L):
        for source in range(L):
            first, last = sorted((source, target))
            weight = torch.exp(w[:, first + 1:last].sum(1))
            if source == target:
                weight = u.expand(B, -1, -1)
            expected[:, target, :, source] = (r[:, target] * weight *
                                              k[:, source]).sum(-1)
    assert expected.abs().min() > 0
    assert relative_error(function(r, k, v, w, u),
                          expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('function', [bi_wkv, bi_wkv_naive])
def test_one_decay_for_all_tokens(function: Callable,
                                  relative_error: Callable) -> None:
    r, k, v, w, u = draw(2, 60, 2, 8)
    w = w[:1, :1]
    constant = bi_wkv(r, k, v, w[0, 0], u)
    assert relative_error(function(r, k, v, w.expand_as(r), u),
                          constant) < FLOAT64_TOLERANCE


@pytest.mark.parametrize(
    'B, L, H, K, V', [(1, 1, 1, 2, 2), (2, 5, 1, 2, 3), (1, 18, 2, 2, 1)],
    ids=['B1-L1-H1-K2', 'B2-L5-H1-K2-V3', 'B1-L18-H2-K2-V1'])
def test_gradcheck(B: int, L: int, H: int, K: int, V: int) -> None:
    inputs = draw(B, L, H, K, V)
    for t in inputs:
        t.requires_grad_()
    assert torch.autograd.gradcheck(bi_wkv, inputs)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_half_is_summed_in_float32(dtype: torch.dtype,
                                   relative_error: Callable) -> None:
    r, k, v, w, u = draw(2, 197, 2, 8, decay='weak', dtype=torch.float32)
    r, k, v = (t.to(dtype) for t in (r, k, v))
    expected = bi_wkv_naive(r.float(), k.float(), v.float(), w, u)
    for enabled in (False, True):
        with torch.autocast('cpu', dtype, enabled=enabled):
            y = bi_wkv(r, k, v, w, u)
        assert y.dtype == dtype
        assert relative_error(y, expected) < torch.finfo(dtype).eps / 2


def test_layers_side_by_side(relative_error: Callable) -> None:
    layers = [draw(2, 60, 2, 8, 5, decay) for decay in DECAYS]
    r, k, v, w, u = (torch.stack(t) for t in zip(*layers))
    y = bi_wkv_tokens(r, k, v, w, u)
    expected = torch.stack([bi_wkv_naive(*layer) for layer in layers])
    assert relative_error(y, expected) < FLOAT64_TOLERANCE


def test_reversed_tokens_reverse_the_output(relative_error: Callable) -> None:
    *inputs, u = draw(2, 50, 2, 8)
    y = bi_wkv(*(t.flip(1) for t in inputs), u).flip(1)
    assert relative_error(y, bi_wkv(*inputs, u)) < FLOAT64_TOLERANCE


def test_samples_and_heads_do_not_meet() -> None:
    *inputs, u = draw(3, 33, 3, 8)
    alone = bi_wkv(*inputs, u)
    for t in inputs[:3]:
        t[1], t[:, :, 1] = torch.nan, torch.nan
    y = bi_wkv(*inputs, u)
    assert y[1].isnan().all() and y[:, :, 1].isnan().all()
    assert torch.equal(y[[0, 2]][:, :, [0, 2]], alone[[0, 2]][:, :, [0, 2]])


@pytest.mark.parametrize('shape', [(2, 5, 2, 4), (2, 4, 2, 8), (5, 2, 8)])
def test_shapes_that_do_not_fit(shape: tuple) -> None:
    r, k, v, _, u = draw(2, 5, 2, 8)
    with pytest.raises(ValueError, match=r'w of the shape of r, got \('):
        bi_wkv(r, k, v, -torch.ones(shape), u)


@pytest.mark.parametrize('chunk_size', [0, 3, 24])
def test_chunks_that_are_no_power_of_two(chunk_size: int) -> None:
    with pytest.raises(ValueError, match=f'power of two, got {chunk_size}'):
        bi_wkv_tokens(*draw(1, 40, 2, 8), chunk_size=chunk_size)


def test_positive_log_decay_is_refused() -> None:
    r, k, v, w, u = draw(1, 4, 2, 8)
    w[0, 2, 1, 3] = 0.25
    with pytest.raises(ValueError, match='0.25'):
        bi_wkv(r, k, v, w, u)
