# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV: the chunked operator against the equation, and bad inputs."""
from typing import Callable, Iterator, Tuple

import pytest
import torch
from torch import Tensor

from mmlcr.ops import (
    bi_wkv,
    bi_wkv_decays,
    bi_wkv_memory,
    bi_wkv_naive,
    bi_wkv_read,
)
from mmlcr.ops.batched import narrow

# what this project promises of float32 against float64, in norm
FLOAT32_TOLERANCE = 1e-5
# a few hundred additions of float64 rounding, 1e-16 each
FLOAT64_TOLERANCE = 1e-13
# a weight that is summed up in the same order, give or take a few roundings
SAME_FLOAT32_TOLERANCE = 1e-6

DECAYS = ('weak', 'mixed', 'strong', 'all-30', 'extremes')
NAMES = ('r', 'k', 'v', 'w', 'u')


def log_decay(kind: str, heads: int, width: int) -> Tensor:
    """Draw log-decays ``(H, K)`` of a kind, float64."""
    uniform = torch.rand(heads, width, dtype=torch.float64)
    if kind == 'weak':
        return -torch.exp(-6 + 2 * uniform)
    if kind == 'mixed':
        return -torch.exp(-6 + 7 * uniform)
    if kind == 'strong':
        return -10 - 4 * uniform
    if kind == 'all-30':
        return torch.full_like(uniform, -30.)
    extremes = torch.tensor([0., -1e-6, -1e-2, -1., -5., -12., -20., -30.],
                            dtype=torch.float64)
    return extremes[torch.arange(heads * width) % 8].view(heads, width)


def draw(B: int,
         L: int,
         H: int,
         K: int,
         V: int = 0,
         decay: str = 'mixed',
         dtype: torch.dtype = torch.float64) -> Tuple[Tensor, ...]:
    """Draw ``r, k, v, w, u`` that ``dtype`` represents exactly."""
    r, k = torch.randn(2, B, L, H, K, dtype=torch.float64)
    v = torch.randn(B, L, H, V or K, dtype=torch.float64)
    u = torch.randn(H, K, dtype=torch.float64)
    return tuple(t.to(dtype) for t in (r, k, v, log_decay(decay, H, K), u))


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Fill uninitialised memory with NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('decay', DECAYS)
@pytest.mark.parametrize('L', [1, 7, 16, 17, 49, 196, 197, 400],
                         ids=lambda L: f'B2-L{L}-H2-K8')
def test_chunked_is_naive(L: int, decay: str, assert_agrees: Callable,
                          poisoned_memory: None) -> None:
    inputs = draw(2, L, 2, 8, decay=decay, dtype=torch.float32)
    assert_agrees(bi_wkv, bi_wkv_naive, inputs, FLOAT32_TOLERANCE)


@pytest.mark.parametrize('w, size', [(0., 48), (-3., 32), (-30., 4),
                                     (-1e4, 1)])
def test_the_stronger_the_decay_the_shorter_the_chunk(
        w: float, size: int, relative_error: Callable) -> None:
    """Strong decays have short chunks, so that no factor overflows."""
    r, k, v, _, u = draw(2, 96, 2, 8, dtype=torch.float32)
    log_decays = torch.full_like(u, w)
    log_decays[0, 0] = 0.  # the strongest counts
    leaves = [t.requires_grad_() for t in (r, k, v, log_decays, u)]
    decays = bi_wkv_decays(*leaves[3:], 96)
    assert decays.chunk_size == size
    y = bi_wkv_read(r, bi_wkv_memory(*leaves[1:3], decays))
    expected = bi_wkv_naive(*(t.double() for t in leaves))
    assert relative_error(y, expected) < FLOAT32_TOLERANCE
    for gradient in torch.autograd.grad(y.square().sum(), leaves):
        assert gradient.isfinite().all()


@pytest.mark.parametrize('function', [bi_wkv, bi_wkv_naive])
@pytest.mark.parametrize('decay', ['weak', 'extremes'])
def test_every_token_reads_every_other(function: Callable, decay: str,
                                       relative_error: Callable) -> None:
    """With one-hot values the output is the matrix of weights."""
    B, L, H, K = 2, 37, 2, 8
    r, k, _, w, u = draw(B, L, H, K, decay=decay)
    v = torch.eye(L, dtype=torch.float64)[None, :, None].expand(B, -1, H, -1)
    expected = torch.zeros(B, L, H, L, dtype=torch.float64)
    for target in range(L):
        for source in range(L):
            gap = abs(target - source)
            weight = u if gap == 0 else torch.exp((gap - 1) * w)
            expected[:, target, :, source] = (r[:, target] * weight *
                                              k[:, source]).sum(-1)
    assert expected.abs().min() > 0
    assert relative_error(function(r, k, v, w, u),
                          expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize(
    'B, L, H, K, V', [(1, 1, 1, 2, 2), (2, 5, 1, 2, 3), (1, 18, 2, 2, 1)],
    ids=['B1-L1-H1-K2', 'B2-L5-H1-K2-V3', 'B1-L18-H2-K2-V1'])
def test_gradcheck(B: int, L: int, H: int, K: int, V: int) -> None:
    inputs = draw(B, L, H, K, V)
    for t in inputs:
        t.requires_grad_()
    assert torch.autograd.gradcheck(bi_wkv, inputs)


def test_float64_stays_float64(assert_agrees: Callable) -> None:
    assert_agrees(bi_wkv, bi_wkv_naive, draw(2, 49, 2, 8), FLOAT64_TOLERANCE)


@pytest.mark.parametrize('function', [bi_wkv, bi_wkv_naive])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_half_is_summed_in_float32(dtype: torch.dtype, function: Callable,
                                   relative_error: Callable) -> None:
    r, k, v, w, u = draw(2, 400, 2, 8, decay='weak', dtype=torch.float32)
    r, k, v = (t.to(dtype) for t in (r, k, v))
    y = function(r, k, v, w, u)
    assert y.dtype == dtype
    expected = bi_wkv_naive(r.float(), k.float(), v.float(), w, u)
    # the output is rounded once, to half a unit in the last place
    assert relative_error(y, expected) < torch.finfo(dtype).eps / 2


def test_fp16_sums_may_exceed_fp16() -> None:
    L, K = 400, 8
    k = torch.full((1, L, 1, K), 64., dtype=torch.float16)
    r = torch.full_like(k, 2.**-8)
    w, u = torch.zeros(1, K), torch.ones(1, K)
    y = bi_wkv(r, k, k, w, u)
    # 8 channels of 2^-8 times 400 products of 64 * 64, a power of two away
    # from an integer that fp16 holds
    assert (y == 8 * 2.**-8 * L * 64 * 64).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_autocast_leaves_the_sums_alone(dtype: torch.dtype,
                                        relative_error: Callable) -> None:
    inputs = draw(2, 197, 2, 8, decay='weak', dtype=torch.float32)
    expected = bi_wkv(*inputs)
    with torch.autocast('cpu', dtype):
        y = bi_wkv(*inputs)
    assert y.dtype == torch.float32
    assert relative_error(y, expected) < SAME_FLOAT32_TOLERANCE


@pytest.mark.parametrize('K, V', [(8, 3), (4, 20)], ids=['K8-V3', 'K4-V20'])
@pytest.mark.parametrize('L', [1, 33], ids=['L1', 'L33'])
def test_values_of_another_width(L: int, K: int, V: int,
                                 relative_error: Callable) -> None:
    inputs = draw(2, L, 3, K, V)
    y = bi_wkv(*inputs)
    assert relative_error(y, bi_wkv_naive(*inputs)) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('L', [1, 60], ids=['L1', 'L60'])
def test_layers_side_by_side(L: int, assert_agrees: Callable) -> None:
    """Decays of all layers share the chunk size of the strongest one."""
    layers = [draw(2, L, 2, 8, 5, d) for d in ('weak', 'mixed', 'all-30')]
    inputs = tuple(torch.stack(t) for t in zip(*layers))

    def side_by_side(r: Tensor, k: Tensor, v: Tensor, w: Tensor,
                     u: Tensor) -> Tensor:
        decays = bi_wkv_decays(w, u, L)
        return torch.cat([
            bi_wkv_read(
                r[start:stop],
                bi_wkv_memory(k[start:stop], v[start:stop],
                              narrow(decays, start, stop)))
            for start, stop in ((0, 2), (2, 3))
        ])

    def one_by_one(*inputs: Tensor) -> Tensor:
        return torch.stack([bi_wkv_naive(*layer) for layer in zip(*inputs)])

    assert_agrees(side_by_side, one_by_one, inputs, FLOAT64_TOLERANCE)


@pytest.mark.parametrize('L', [7, 17, 50], ids=['L7', 'L17', 'L50'])
def test_reversed_tokens_reverse_the_output(L: int,
                                            relative_error: Callable) -> None:
    r, k, v, w, u = draw(2, L, 2, 8)
    y = bi_wkv(r.flip(1), k.flip(1), v.flip(1), w, u).flip(1)
    assert relative_error(y, bi_wkv(r, k, v, w, u)) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('L', [7, 33], ids=['L7', 'L33'])
def test_memory_around_the_inputs_is_not_read(L: int) -> None:
    """Inputs are views into tensors that are NaN elsewhere."""
    inputs = draw(2, L, 2, 8)
    views = []
    for t in inputs[:3]:
        padded = torch.full((2, L + 9, 3, 12), torch.nan, dtype=t.dtype)
        padded[:, 4:L + 4, :2, 2:10] = t
        views.append(padded[:, 4:L + 4, :2, 2:10])
    assert torch.equal(bi_wkv(*views, *inputs[3:]), bi_wkv(*inputs))


def test_one_sample_never_reaches_another() -> None:
    r, k, v, w, u = draw(3, 33, 2, 8)
    alone = bi_wkv(r, k, v, w, u)
    for t in (r, k, v):
        t[1] = torch.nan
    y = bi_wkv(r, k, v, w, u)
    assert y[1].isnan().all()
    assert torch.equal(y[[0, 2]], alone[[0, 2]])


def test_one_head_never_reaches_another() -> None:
    r, k, v, w, u = draw(2, 33, 3, 8)
    alone = bi_wkv(r, k, v, w, u)
    for t in (r, k, v):
        t[:, :, 1] = torch.nan
    y = bi_wkv(r, k, v, w, u)
    assert y[:, :, 1].isnan().all()
    assert torch.equal(y[:, :, [0, 2]], alone[:, :, [0, 2]])


@pytest.mark.parametrize(
    'shapes, message',
    [
        (dict(k=(2, 6, 2, 8)), r'\(2, 6, 2, 8\)'),
        (dict(k=(2, 5, 2, 4)), r'\(2, 5, 2, 4\)'),
        (dict(v=(2, 4, 2, 8)), r'\(2, 4, 2, 8\)'),
        (dict(v=(2, 5, 3, 8)), r'\(2, 5, 3, 8\)'),
        (dict(r=(5, 2, 8), k=(5, 2, 8), v=(5, 2, 8)), r'\(5, 2, 8\)'),
        (dict(w=(2, 4)), r'\(2, 4\)'),
        (dict(u=(3, 8)), r'\(3, 8\)'),
        (dict(w=(1, 2, 8)), r'\(1, 2, 8\)'),
        (dict(r=(2, 0, 2, 8), k=(2, 0, 2, 8), v=(2, 0, 2, 8)),
         'at least one token'),
    ],
    ids=[
        'k-tokens', 'k-width', 'v-tokens', 'v-heads', 'no-batch', 'w-width',
        'u-heads', 'w-batch', 'no-tokens'
    ])
def test_shapes_that_do_not_fit(shapes: dict, message: str) -> None:
    fitting = dict(zip(NAMES, ((2, 5, 2, 8), ) * 3 + ((2, 8), ) * 2))
    inputs = [-torch.ones(shape) for shape in {**fitting, **shapes}.values()]
    with pytest.raises(ValueError, match=message):
        bi_wkv(*inputs)


def test_positive_log_decay_is_refused() -> None:
    r, k, v, w, u = draw(1, 4, 2, 8)
    w[1, 3] = 0.25
    with pytest.raises(ValueError, match='0.25'):
        bi_wkv(r, k, v, w, u)
