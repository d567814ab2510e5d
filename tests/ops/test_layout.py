# Copyright (c) The mmlcr authors. All rights reserved.
"""Token layout and token shift against loops over tokens."""
from typing import List, Optional, Tuple

import pytest
import torch
from torch import Tensor

from mmlcr.ops import TokenLayout, TokenShift, layout_from_mask

CPU = torch.device('cpu')
SIZES = [(1, 1, 1, 4), (1, 5, 1, 8), (4, 1, 2, 4), (3, 4, 2, 8), (5, 3, 3, 12)]
SIZE_IDS = [f'{rows}x{cols}-H{H}-K{K}' for rows, cols, H, K in SIZES]


def random_mask(B: int, rows: int, cols: int, dropped: int) -> Tensor:
    """Draw tube masks with the same number of dropped patches per sample."""
    mask = torch.zeros(B, rows * cols, dtype=torch.bool)
    for sample in mask:
        sample[torch.randperm(rows * cols)[:dropped]] = True
    return mask.view(B, rows, cols)


def naive_shift(x: Tensor, positions: List[Tuple[int, int]], H: int) -> Tensor:
    """Shift of equation (3) for tokens ``(L, D)``, CLS last."""
    shifted = torch.zeros_like(x)
    shifted[-1] = x[-1]
    K = x.shape[-1] // H
    token = {pos: index for index, pos in enumerate(positions)}
    for (row, col), index in token.items():
        left, right = (row, col - 1), (row, col + 1)
        upper, lower = (row - 1, col), (row + 1, col)
        for channel in range(x.shape[-1]):
            quarter = channel % K // (K // 4)
            source = (left, right, upper, lower)[quarter]
            if source in token:
                shifted[index, channel] = x[token[source], channel]
    return shifted


def kept_positions(rows: int, cols: int,
                   mask: Optional[Tensor]) -> List[Tuple[int, int]]:
    """Row and column of the patches that a mask keeps, in order."""
    return [(row, col) for row in range(rows) for col in range(cols)
            if mask is None or not mask[row, col]]


@pytest.mark.parametrize('rows, cols, H, K', SIZES, ids=SIZE_IDS)
def test_grid_shift_is_naive(rows: int, cols: int, H: int, K: int) -> None:
    x = torch.randn(3, 2, rows * cols + 1, H * K)
    shifted = TokenShift(TokenLayout(rows, cols), H, K, CPU)(x)
    positions = kept_positions(rows, cols, None)
    for t in range(3):
        for b in range(2):
            expected = naive_shift(x[t, b], positions, H)
            assert torch.equal(shifted[t, b], expected)


@pytest.mark.parametrize('lead', [(), (3, )], ids=['frame', 'frames'])
@pytest.mark.parametrize('rows, cols, H, K', SIZES[1:], ids=SIZE_IDS[1:])
def test_masked_shift_is_naive(rows: int, cols: int, H: int, K: int,
                               lead: Tuple[int, ...]) -> None:
    masks = random_mask(2, rows, cols, dropped=rows * cols // 2)
    layout = layout_from_mask(rows, cols, masks)
    x = torch.randn(*lead, 2, layout.keep_ids.shape[1] + 1, H * K)
    shifted = TokenShift(layout, H, K, CPU)(x)
    assert shifted.shape == x.shape
    for frame, frame_shifted in zip(x.view(-1, *x.shape[-3:]),
                                    shifted.view(-1, *x.shape[-3:])):
        for b in range(2):
            positions = kept_positions(rows, cols, masks[b])
            assert torch.equal(frame_shifted[b],
                               naive_shift(frame[b], positions, H))


@pytest.mark.parametrize('rows, cols, H, K', SIZES, ids=SIZE_IDS)
def test_mask_that_drops_nothing(rows: int, cols: int, H: int,
                                 K: int) -> None:
    x = torch.randn(3, 2, rows * cols + 1, H * K)
    nothing = torch.zeros(2, rows, cols, dtype=torch.bool)
    masked = TokenShift(layout_from_mask(rows, cols, nothing), H, K, CPU)
    whole = TokenShift(TokenLayout(rows, cols), H, K, CPU)
    assert torch.equal(masked(x), whole(x))


def test_each_quarter_has_its_neighbour() -> None:
    """The middle of a 3x3 grid reads left, right, upper and lower patch."""
    H, K = 2, 8
    x = torch.arange(10.)[None, :, None].expand(1, 10, H * K)
    middle = TokenShift(TokenLayout(3, 3), H, K, CPU)(x)[0, 4]
    head = [3., 3., 5., 5., 1., 1., 7., 7.]
    assert middle.tolist() == head * H


def test_dropped_neighbour_counts_as_zero() -> None:
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    mask[0, 1, 0] = mask[0, 2, 1] = True  # left and lower of the middle
    remaining = torch.tensor([0., 1., 2., 4., 5., 6., 8., 9.])
    x = remaining[None, :, None].expand(1, 8, 4) + 10
    middle = TokenShift(layout_from_mask(3, 3, mask), 1, 4, CPU)(x)[0, 3]
    assert middle.tolist() == [0., 15., 11., 0.]


@pytest.mark.parametrize('masked', [False, True], ids=['grid', 'masked'])
def test_cls_is_its_own_neighbour(masked: bool) -> None:
    """It is not changed, and no patch reads it."""
    mask = random_mask(2, 3, 4, dropped=5) if masked else None
    shift = TokenShift(layout_from_mask(3, 4, mask), 2, 8, CPU)
    x = torch.randn(2, (7 if masked else 12) + 1, 16)
    expected = shift(x)
    assert torch.equal(expected[:, -1], x[:, -1])
    x[:, -1] = torch.nan
    shifted = shift(x)
    assert shifted[:, -1].isnan().all()
    assert torch.equal(shifted[:, :-1], expected[:, :-1])


@pytest.mark.parametrize('masked', [False, True], ids=['grid', 'masked'])
def test_shift_gradcheck(masked: bool) -> None:
    mask = random_mask(2, 2, 3, dropped=2) if masked else None
    shift = TokenShift(layout_from_mask(2, 3, mask), 1, 4, CPU)
    x = torch.randn(2, 2, (4 if masked else 6) + 1, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(shift, x.requires_grad_())


@pytest.mark.parametrize('known', [0, 1, 3])
@pytest.mark.parametrize('masked', [False, True], ids=['grid', 'masked'])
def test_mix_and_difference_side_by_side(masked: bool, known: int) -> None:
    """Three layers, the last of which are at their first frame."""
    mask = random_mask(2, 2, 3, dropped=2) if masked else None
    shift = TokenShift(layout_from_mask(2, 3, mask), 1, 4, CPU)
    neighbours = shift.neighbours(3 * 2)
    x = torch.randn(3, 2, (4 if masked else 6) + 1, 4, dtype=torch.float64)
    mu, before = torch.rand(3, 4).double(), torch.randn_like(x)[:known]
    both = neighbours.mix_and_difference(x, mu, before)
    assert torch.equal(both[..., :4], neighbours.mix(x, mu))
    assert torch.equal(both[:known, ..., 4:], x[:known] - before)
    assert not both[known:, ..., 4:].any()
    leaves = [t.requires_grad_() for t in (x, mu, before)]
    assert torch.autograd.gradcheck(neighbours.mix_and_difference, leaves)


def test_drop_keeps_the_patches_of_each_sample() -> None:
    masks = random_mask(2, 3, 4, dropped=5)
    layout = layout_from_mask(3, 4, masks)
    patches = torch.randn(3, 2, 12, 5)
    remaining = layout.drop(patches)
    assert remaining.shape == (3, 2, 7, 5)
    for b in range(2):
        assert torch.equal(remaining[:, b], patches[:, b, ~masks[b].flatten()])
    assert layout_from_mask(3, 4).drop(patches) is patches


def test_position_is_that_of_the_whole_frame() -> None:
    masks = random_mask(2, 3, 4, dropped=5)
    position = layout_from_mask(3, 4, masks).position(torch.device('cpu'))
    for b in range(2):
        positions = [tuple(pos) for pos in position[b].tolist()]
        assert positions == kept_positions(3, 4, masks[b])
    whole = layout_from_mask(3, 4).position(torch.device('cpu'))
    assert [tuple(p) for p in whole[0].tolist()] == kept_positions(3, 4, None)


MISFITS = dict(
    float=(torch.zeros(2, 3, 4), 'torch.float32'),
    uint8=(torch.zeros(2, 3, 4, dtype=torch.uint8), 'torch.uint8'),
    transposed=(torch.zeros(2, 4, 3, dtype=torch.bool), r'\(2, 4, 3\)'),
    no_batch=(torch.zeros(3, 4, dtype=torch.bool), r'\(3, 4\)'),
    flat=(torch.zeros(2, 12, dtype=torch.bool), r'\(2, 12\)'),
    all_dropped=(torch.ones(2, 3, 4, dtype=torch.bool), r'\[0, 0\]'),
    unequal=(torch.arange(24).view(2, 3, 4) < 5, r'\[7, 12\]'))


@pytest.mark.parametrize('mask, message', MISFITS.values(), ids=MISFITS)
def test_masks_that_do_not_fit(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout_from_mask(3, 4, mask)
