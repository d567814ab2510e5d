# Copyright (c) The mmlcr authors. All rights reserved.
"""TubeMask: number and choice of patches, and the way to the model."""
from typing import Any, Callable

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmcv.transforms.utils import cache_random_params

from mmaction.registry import TRANSFORMS
from mmlcr.transforms import TubeMask
from mmlcr.transforms.edge_map import edge_map


def draw(ratio: float,
         height: int = 48,
         width: int = 64,
         patch_size: int = 8) -> torch.Tensor:
    """The mask of a clip of blank frames."""
    frames = [np.zeros((height, width, 4), np.uint8)] * 2
    transform = TubeMask(ratio=ratio, patch_size=patch_size)
    return transform.transform(dict(imgs=frames))['tube_mask']


@pytest.mark.parametrize('height, width', [(48, 64), (56, 40), (8, 24)],
                         ids=['6x8', '7x5', '1x3'])
@pytest.mark.parametrize('ratio', [0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 0.75])
def test_count_is_exact(ratio: float, height: int, width: int) -> None:
    rows, cols = height // 8, width // 8
    for _ in range(5):
        mask = draw(ratio, height, width)
        assert mask.dtype == torch.bool and mask.shape == (rows, cols)
        assert mask.sum() == round(ratio * rows * cols)


def test_ratio_0_drops_nothing() -> None:
    assert not draw(0).any()


def test_seed_decides() -> None:
    masks = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        masks.append(draw(0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_every_draw_is_another() -> None:
    masks = {tuple(draw(0.5).flatten().tolist()) for _ in range(20)}
    assert len(masks) == 20  # of 3e13 masks


def test_every_patch_is_dropped_as_often() -> None:
    often = torch.stack([draw(0.25) for _ in range(2000)]).double().mean(0)
    # 2,000 draws: five deviations of the frequency are 0.05
    assert (often - 0.25).abs().max() < 0.05


def test_draw_can_be_cached() -> None:
    """TransformBroadcaster does so for several images of a sample."""
    transform = TubeMask(ratio=0.5, patch_size=8)
    frames = [np.zeros((48, 64, 4), np.uint8)]
    with cache_random_params(transform):
        first = transform.transform(dict(imgs=frames))['tube_mask']
        again = transform.transform(dict(imgs=frames))['tube_mask']
    assert torch.equal(first, again)
    other = transform.transform(dict(imgs=frames))['tube_mask']
    assert not torch.equal(first, other)


@pytest.mark.parametrize('ratio', [-0.1, 1, 1.5, float('nan')])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(ValueError, match=rf'\[0, 1\), got {ratio}'):
        TubeMask(ratio=ratio, patch_size=8)


@pytest.mark.parametrize('patch_size', [0, -8])
def test_patch_size_out_of_range(patch_size: int) -> None:
    with pytest.raises(ValueError, match=f'got {patch_size}'):
        TubeMask(ratio=0.5, patch_size=patch_size)


def test_ratio_that_leaves_nothing() -> None:
    with pytest.raises(ValueError, match='0.9 leaves none of 1x3 patches'):
        draw(0.9, 8, 24)


@pytest.mark.parametrize('height, width', [(50, 64), (48, 60)],
                         ids=['height', 'width'])
def test_patch_that_does_not_divide(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f'8 does not.*{height}x{width}'):
        draw(0.5, height, width)


def test_repr_is_the_call_that_builds_it() -> None:
    config: Any = dict(type='TubeMask', ratio=0.25, patch_size=8)
    transform = TRANSFORMS.build(config)
    assert repr(transform) == 'TubeMask(ratio=0.25, patch_size=8)'


@pytest.mark.parametrize('num_clips', [1, 2], ids=['clips1', 'clips2'])
def test_pipeline_packs_mask_and_edges(num_clips: int,
                                       make_video: Callable) -> None:
    pipeline = Compose([
        TRANSFORMS.build(config) for config in (
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=4, num_clips=num_clips),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(64, 48), keep_ratio=False),
            dict(type='Flip', flip_ratio=1), dict(type='EdgeMap'),
            dict(type='TubeMask', ratio=0.5, patch_size=8),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', algorithm_keys=('tube_mask', )))
    ])
    packed = pipeline(
        dict(
            filename=str(make_video()),
            start_index=0,
            modality='RGB',
            label=3))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.dtype == torch.uint8
    assert inputs.shape == (num_clips, 4, 4, 48, 64)
    assert sample.gt_label.tolist() == [3]
    assert sample.tube_mask.dtype == torch.bool
    assert sample.tube_mask.shape == (6, 8) and sample.tube_mask.sum() == 24
    for clip in inputs.permute(0, 2, 3, 4, 1).numpy():
        for frame in clip:
            assert np.array_equal(frame[..., 3], edge_map(frame[..., :3]))
            assert frame[..., 3].any()
