# Copyright (c) The mmlcr authors. All rights reserved.
"""The configs' pipelines after the decoder: any frames, clips and draws."""
import functools
from pathlib import Path
from typing import List, Tuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmengine.config import Config

from mmaction.registry import TRANSFORMS
from mmlcr.engine import seed_generators
from mmlcr.transforms import EdgeMap, TubeMask
from mmlcr.transforms.edge_map import edge_map

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAMES = ('lcr_k400', 'lcr_ssv2', 'lcr_jester', 'lcr_motion', 'lcr_weizmann')
SAMPLING = ('SampleFrames', 'UniformSample', 'RandomChoice')


@functools.lru_cache(maxsize=None)
def after_decoding(name: str, split: str) -> Tuple[Compose, Config]:
    """The transforms of a config after decoding."""
    config = Config.fromfile(str(CONFIGS / f'{name}.py'))
    steps = [
        step for step in config[f'{split}_pipeline']
        if step.type not in SAMPLING
        and not step.type.endswith(('Init', 'Decode'))
    ]
    assert steps[0].type in ('Resize', 'RandomResizedCrop', 'CenterCrop')
    return Compose([TRANSFORMS.build(step) for step in steps]), config


@st.composite
def clips(draw: st.DrawFn) -> dict:
    """Results of a decoder: up to two clips of up to three frames."""
    num_clips, clip_len = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    height, width = draw(st.integers(2, 90)), draw(st.integers(2, 120))
    kind = draw(st.sampled_from(['noise', 'constant', 'squares']))
    draws = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    images = draws.randint(
        0, 256, (num_clips * clip_len, height, width, 3), dtype=np.uint8)
    if kind != 'noise':
        images[:] = images[:, :1, :1]
    if kind == 'squares':
        images[:, :height // 2, :width // 2] //= 2
    if draw(st.booleans()):  # as of OpenCV's decoder: a view
        images = images[..., ::-1]
    return dict(
        imgs=list(images),
        num_clips=num_clips,
        clip_len=clip_len,
        img_shape=(height, width),
        original_shape=(height, width),
        modality='RGB',
        label=0)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=8)
@given(clip=clips(), seed=st.integers(0, 2**32 - 1))
def test_any_clip_is_packed(name: str, split: str, clip: dict,
                            seed: int) -> None:
    seed_generators(seed)
    pipeline, config = after_decoding(name, split)
    crops = [t for t in pipeline.transforms if 'ThreeCrop' in repr(t)]
    packed = pipeline(clip)
    inputs, sample = packed['inputs'], packed['data_samples']
    views = clip['num_clips'] * (3 if crops else 1)
    width, height = np.broadcast_to(config.size, 2)
    assert inputs.dtype == torch.uint8
    assert inputs.shape == (views, 4, clip['clip_len'], height, width)
    # cut, resized and flipped, and then the edge map: not the other way
    for view in inputs.permute(0, 2, 3, 4, 1).numpy():
        for frame in view:
            assert np.array_equal(frame[..., 3], edge_map(frame[..., :3]))
    masking = [t for t in pipeline.transforms if isinstance(t, TubeMask)]
    assert len(masking) == (split == 'train')
    for mask in masking:
        grid = height // mask.patch_size, width // mask.patch_size
        assert sample.tube_mask.dtype == torch.bool
        assert sample.tube_mask.shape == grid
        assert sample.tube_mask.sum() == round(mask.ratio * np.prod(grid))


@given(clip=clips(), data=st.data())
def test_edge_map_of_any_frames(clip: dict, data: st.DataObject) -> None:
    """Each frame has its own edge map, and keeps its colours."""
    order = data.draw(st.sampled_from(['rgb', 'bgr']))
    before: List[np.ndarray] = [image.copy() for image in clip['imgs']]
    for image, after in zip(before,
                            EdgeMap(order).transform(clip)['imgs']):
        assert after.dtype == np.uint8
        assert np.array_equal(after[..., :3], image)
        assert np.array_equal(after[..., 3], edge_map(image, order))
        assert set(np.unique(after[..., 3])) <= {0, 255}


@given(
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    patch=st.integers(1, 4),
    ratio=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1))
def test_tube_mask_of_any_ratio(rows: int, cols: int, patch: int,
                                ratio: float, seed: int) -> None:
    """TubeMask drops its ratio of patches by the seed, or raises."""
    frames = [np.zeros((rows * patch, cols * patch, 4), np.uint8)] * 2
    dropped = round(ratio * rows * cols)
    drawn = []
    for _ in range(2):
        np.random.seed(seed)
        transform = TubeMask(ratio=ratio, patch_size=patch)
        if dropped == rows * cols:
            with pytest.raises(ValueError, match=f'leaves none of {rows}x'):
                transform.transform(dict(imgs=frames))
            return
        drawn.append(transform.transform(dict(imgs=frames))['tube_mask'])
    assert drawn[0].shape == (rows, cols) and drawn[0].sum() == dropped
    assert torch.equal(*drawn)
