# Copyright (c) The mmlcr authors. All rights reserved.
"""Rotary position: definition, and dependence on offsets only."""
import itertools

import pytest
import torch
from torch import Tensor

from mmlcr.ops import TokenLayout, layout_from_mask, rotary_table, rotate

# rounding of float64 sines of angles up to ten
TOLERANCE = 1e-12
BASE = 100.
CPU = torch.device('cpu')


def table(layout: TokenLayout, K: int) -> Tensor:
    return rotary_table(layout, K, CPU, torch.float64)


@pytest.mark.parametrize('K', [4, 8, 32], ids=lambda K: f'K{K}')
def test_pairs_turn_by_row_then_by_column(K: int) -> None:
    """As complex numbers: ``(x_2j + i x_2j+1) exp(i angle)``."""
    rows, cols = 3, 5
    x = torch.randn(2, rows * cols + 1, 2, K, dtype=torch.float64)
    turned = rotate(x, table(TokenLayout(rows, cols), K))
    pairs = torch.complex(x[..., ::2], x[..., 1::2])
    expected = pairs.clone()
    for row, col in itertools.product(range(rows), range(cols)):
        for pair in range(K // 2):
            along = row if pair < K // 4 else col
            frequency = BASE**-(pair % (K // 4) / (K // 4))
            angle = torch.tensor(along * frequency, dtype=torch.float64)
            expected[:, row * cols + col, :, pair] *= torch.exp(1j * angle)
    expected = torch.stack([expected.real, expected.imag], dim=-1).flatten(-2)
    assert (turned - expected).abs().max() < TOLERANCE


def test_cls_does_not_turn() -> None:
    x = torch.randn(2, 13, 2, 8, dtype=torch.float64)
    turned = rotate(x, table(TokenLayout(3, 4), 8))
    assert torch.equal(turned[:, -1], x[:, -1])
    assert not torch.isclose(turned[:, -2], x[:, -2]).any()


def test_products_depend_on_the_offset_alone() -> None:
    """This holds if both channels of a pair decay equally."""
    rows, cols, K = 4, 5, 8
    r, k = torch.randn(2, K, dtype=torch.float64)
    decay = torch.rand(K // 2, dtype=torch.float64).repeat_interleave(2)
    rotation = table(TokenLayout(rows, cols), K)
    shape = 1, rows * cols + 1, 1, K
    r = rotate(r.expand(shape), rotation)[0, :-1, 0]
    k = rotate(k.expand(shape), rotation)[0, :-1, 0]
    products = (r * decay) @ k.T
    by_offset: dict = {}
    positions = list(itertools.product(range(rows), range(cols)))
    for (l, first), (i, second) in itertools.product(
            enumerate(positions), repeat=2):
        offset = first[0] - second[0], first[1] - second[1]
        by_offset.setdefault(offset, []).append(products[l, i].item())
    assert len(by_offset) == (2 * rows - 1) * (2 * cols - 1)
    means = []
    for same in by_offset.values():
        assert max(same) - min(same) < TOLERANCE
        means.append(same[0])
    # and different offsets have different products
    assert len({round(mean, 9) for mean in means}) == len(means)


def test_dropped_patches_leave_the_positions_of_others() -> None:
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 0, :3] = mask[1, 2, 1:] = True
    whole = table(TokenLayout(3, 4), 8)
    masked = table(layout_from_mask(3, 4, mask), 8)
    for b in range(2):
        keep = torch.cat([~mask[b].flatten(), torch.tensor([True])])
        assert torch.equal(masked[b], whole[0, keep])


def test_length_is_kept() -> None:
    x = torch.randn(2, 13, 2, 8, dtype=torch.float64)
    turned = rotate(x, table(TokenLayout(3, 4), 8))
    assert (turned.norm(dim=-1) - x.norm(dim=-1)).abs().max() < TOLERANCE


def test_none_leaves_the_tensor() -> None:
    x = torch.randn(2, 13, 2, 8)
    assert rotate(x, None) is x


def test_half_is_turned_in_the_precision_of_the_table() -> None:
    x = torch.randn(2, 13, 2, 8, dtype=torch.bfloat16)
    turned = rotate(x, table(TokenLayout(3, 4), 8))
    assert turned.dtype == torch.float64
    assert torch.equal(turned, rotate(x.double(), table(TokenLayout(3, 4), 8)))
