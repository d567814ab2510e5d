# Copyright (c) The mmlcr authors. All rights reserved.
"""Layouts, token shift and rotary position for any grid and mask."""
from typing import List, Tuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmlcr.ops import (
    TokenLayout,
    TokenShift,
    layout_from_mask,
    rotary_table,
    rotate,
)

CPU = torch.device('cpu')
# some roundings of float64
TOLERANCE = 1e-12


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Masks of up to three samples with the same number of dropped patches."""
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    num_kept = draw(st.integers(1, rows * cols))
    orders = [
        draw(st.permutations(range(rows * cols)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    return (torch.tensor(orders) >= num_kept).view(-1, rows, cols)


def positions(mask: Tensor) -> List[Tuple[int, int]]:
    """Row and column of every kept patch."""
    return [(row, col) for row in range(mask.shape[0])
            for col in range(mask.shape[1]) if not mask[row, col]]


@given(mask=masks())
def test_kept_patches_are_those_of_the_mask(mask: Tensor) -> None:
    layout = layout_from_mask(*mask.shape[1:], mask)
    patches = torch.randn(2, len(mask), mask[0].numel(), 3)
    dropped = layout.drop(patches)
    for index, of_sample in enumerate(mask):
        expected = patches[:, index, ~of_sample.flatten()]
        assert torch.equal(dropped[:, index], expected)
        position = layout.position(CPU)[index].tolist()
        assert [*map(tuple, position)] == positions(of_sample)
    assert layout.num_patches == dropped.shape[-2]


@given(mask=masks(), heads=st.integers(1, 3), quarter=st.integers(1, 3))
def test_token_shift_is_that_of_neighbours(mask: Tensor, heads: int,
                                           quarter: int) -> None:
    """Its gradient is its transpose."""
    layout = layout_from_mask(*mask.shape[1:], mask)
    shift = TokenShift(layout, heads, 4 * quarter, CPU)
    D, L = heads * 4 * quarter, layout.num_patches + 1
    x = torch.randn(2, len(mask), L, D, dtype=torch.float64)
    x.requires_grad_()
    shifted = shift(x)
    for index, of_sample in enumerate(mask):
        token = {pos: n for n, pos in enumerate(positions(of_sample))}
        split = x[:, index].reshape(2, L, heads, 4, quarter)
        got = shifted[:, index].reshape(split.shape)
        assert torch.equal(got[:, -1], split[:, -1])
        for (row, col), n in token.items():
            for piece, pos in enumerate([(row, col - 1), (row, col + 1),
                                         (row - 1, col), (row + 1, col)]):
                expected = torch.zeros_like(got[:, n, :, piece])
                if pos in token:
                    expected = split[:, token[pos], :, piece]
                assert torch.equal(got[:, n, :, piece], expected)
    y = torch.randn_like(x)
    gradient, = torch.autograd.grad((shifted * y).sum(), x)
    # linear: <shift(x), y> is <x, gradient>
    difference = (shifted * y).sum() - (x * gradient).sum()
    assert difference.abs() < TOLERANCE * x.numel()


@given(
    rows=st.integers(1, 6),
    cols=st.integers(1, 6),
    K=st.integers(1, 4).map(lambda quarter: 4 * quarter))
def test_rotary_products_depend_on_the_distance_alone(
        rows: int, cols: int, K: int) -> None:
    layout = TokenLayout(rows, cols)
    table = rotary_table(layout, K, CPU, torch.float64)
    r, k = torch.randn(2, 1, 1, K, dtype=torch.float64)
    L = rows * cols + 1
    turned_r, turned_k = (
        rotate(t.expand(1, L, 1, K), table)[0, :, 0] for t in (r, k))
    assert torch.equal(turned_r[-1], r[0, 0])  # CLS does not turn
    products = (turned_r @ turned_k.T)[:-1, :-1]
    by_distance: dict = {}
    position = layout.position(CPU)[0]
    for a, row in zip(position, products):
        for b, product in zip(position, row):
            seen = by_distance.setdefault(tuple((a - b).tolist()), product)
            assert (product - seen).abs() < TOLERANCE


@given(mask=masks())
def test_rotary_of_kept_patches_is_that_of_the_grid(mask: Tensor) -> None:
    layout = layout_from_mask(*mask.shape[1:], mask)
    table = rotary_table(layout, 8, CPU, torch.float64)
    whole = rotary_table(
        TokenLayout(*mask.shape[1:]), 8, CPU, torch.float64)[0]
    for of_sample, got in zip(mask, table):
        keep = torch.cat([~of_sample.flatten(), torch.tensor([True])])
        assert torch.equal(got, whole[keep])
