# Copyright (c) The mmlcr authors. All rights reserved.
"""The stems against their definitions."""
import pytest
import torch
import torch.nn.functional as F

from mmlcr.layers import build_stem

# float64 sums of a few hundred products
TOLERANCE = 1e-12


@pytest.mark.parametrize('channels', [1, 3], ids=['edges', 'rgb'])
@pytest.mark.parametrize('patch, height, width', [(4, 12, 20), (5, 5, 15),
                                                  (1, 2, 3)],
                         ids=['P4-12x20', 'P5-5x15', 'P1-2x3'])
def test_patch_stem_is_linear_in_each_patch(patch: int, height: int,
                                            width: int,
                                            channels: int) -> None:
    stem = build_stem('patch', channels, 16, patch).double()
    frames = torch.randn(2, channels, height, width, dtype=torch.float64)
    features = stem(frames)
    rows, cols = height // patch, width // patch
    assert features.shape == (2, 16, rows, cols)
    weight = stem.projection.weight.flatten(1)  # (D, channels * P * P)
    for row in range(rows):
        for col in range(cols):
            pixels = frames[:, :, row * patch:(row + 1) * patch,
                            col * patch:(col + 1) * patch].flatten(1)
            expected = pixels @ weight.T + stem.projection.bias
            difference = features[:, :, row, col] - expected
            assert difference.abs().max() < TOLERANCE


@pytest.mark.parametrize('channels', [1, 3], ids=['edges', 'rgb'])
@pytest.mark.parametrize('patch, widths', [(2, [32]), (8, [8, 16, 32]),
                                           (16, [8, 8, 16, 32])],
                         ids=['P2', 'P8', 'P16'])
def test_conv_stem_is_its_convolutions(patch: int, widths: list,
                                       channels: int) -> None:
    stem = build_stem('conv', channels, 32, patch).double()
    for weight in stem.parameters():
        torch.nn.init.normal_(weight, mean=0.1, std=0.5)
    frames = torch.randn(
        2, channels, 2 * patch, 3 * patch, dtype=torch.float64)
    state = stem.state_dict()
    assert len(state) == 4 * len(widths)
    expected = frames
    for index, width in enumerate(widths):
        convolution, norm = f'layers.{3 * index}', f'layers.{3 * index + 1}'
        assert len(state[f'{convolution}.weight']) == width
        expected = F.conv2d(
            expected,
            state[f'{convolution}.weight'],
            state[f'{convolution}.bias'],
            stride=2,
            padding=1)
        groups = expected.unflatten(1, (4, -1))
        mean = groups.mean((2, 3, 4), keepdim=True)
        variance = groups.var((2, 3, 4), correction=0, keepdim=True)
        normed = ((groups - mean) / (variance + 1e-5).sqrt()).flatten(1, 2)
        normed = (
            normed * state[f'{norm}.weight'][:, None, None] +
            state[f'{norm}.bias'][:, None, None])
        expected = normed * 0.5 * (1 + torch.erf(normed / 2**0.5))
    features = stem(frames)
    assert features.shape == (2, 32, 2, 3)
    assert (features - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize('kind', ['patch', 'conv'])
def test_frames_do_not_see_each_other(kind: str) -> None:
    stem = build_stem(kind, 3, 16, 4)
    frames = torch.randn(3, 3, 8, 12)
    alone = stem(frames)
    frames[1] = torch.nan
    features = stem(frames)
    assert features[1].isnan().all()
    assert torch.equal(features[[0, 2]], alone[[0, 2]])


@pytest.mark.parametrize('patch', [1, 3, 6, 12, 14])
def test_conv_stem_needs_a_power_of_two(patch: int) -> None:
    with pytest.raises(ValueError, match=f'power of two, got {patch}'):
        build_stem('conv', 3, 16, patch)


def test_unknown_stem_is_named() -> None:
    with pytest.raises(ValueError, match="'resnet'"):
        build_stem('resnet', 3, 16, 8)
