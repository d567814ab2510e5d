# Copyright (c) The mmlcr authors. All rights reserved.
"""Draws depend on seed, epoch and sample, and on nothing else."""
import random
from typing import Any, Callable, List

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmaction.registry import DATASETS
from mmlcr.engine import Draw, SeededSampler, seed_draws

DRAWN = 4  # samples


@pytest.fixture
def dataset(make_video: Callable, tmp_path: Any) -> Any:
    """What is drawn at random: when, where, mirrored, which patches."""
    lines = []
    for number in range(DRAWN):
        make_video(f'{number}.mp4', num_frames=30, step=number)
        lines.append(f'{number}.mp4 0\n')
    (tmp_path / 'list.txt').write_text(''.join(lines))
    return DATASETS.build(
        dict(
            type='CheckedVideoDataset',
            num_classes=1,
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(video=str(tmp_path)),
            pipeline=[
                dict(type='DecordInit'),
                dict(type='SampleFrames', clip_len=2, frame_interval=3),
                dict(type='DecordDecode'),
                dict(type='RandomResizedCrop'),
                dict(type='Resize', scale=(32, 32), keep_ratio=False),
                dict(type='Flip', flip_ratio=0.5),
                dict(type='EdgeMap'),
                dict(type='TubeMask', ratio=0.5, patch_size=8),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
            ]))


def load(dataset: Any, epoch: int, workers: int = 0, seed: int = 7,
         skipped: int = 0) -> List[tuple]:
    sampler = SeededSampler(dataset, seed=seed)
    sampler.set_epoch(epoch)
    if skipped:
        sampler.skip(epoch, sampler.ids_seen(skipped, 1))
    loader = DataLoader(dataset, 1, sampler=sampler, num_workers=workers,
                        collate_fn=lambda batch: batch[0])
    return [(sample['inputs'], sample['data_samples'].tube_mask)
            for sample in loader]


def same(a: tuple, b: tuple) -> bool:
    return all(map(torch.equal, a, b))


def test_workers_draw_the_same(dataset: Any) -> None:
    random.seed(), np.random.seed(), torch.seed()
    expected = load(dataset, 0)
    for workers in (0, 1, 3):
        random.seed(), np.random.seed(), torch.seed()
        assert all(map(same, load(dataset, 0, workers), expected))


def test_whatever_was_drawn_before(dataset: Any) -> None:
    """In the middle of an epoch as from its start."""
    assert all(map(same, load(dataset, 3, skipped=2), load(dataset, 3)[2:]))
    expected = dataset[Draw(1, 5, 7)]['inputs']
    random.random(), np.random.rand(), torch.rand(1)
    assert torch.equal(dataset[Draw(1, 5, 7)]['inputs'], expected)


def test_other_epochs_seeds_and_samples_draw_otherwise(dataset: Any) -> None:
    pictures = [
        dataset[Draw(0, epoch, seed)]['inputs']
        for epoch, seed in ((0, 0), (1, 0), (0, 1), (2, 0))
    ]
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert not torch.equal(picture, other)
    drawn = set()
    for numbers in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2)):
        seed_draws(*numbers)
        drawn.add((random.random(), np.random.rand(), float(torch.rand(1))))
    assert len(drawn) == 5 and all(len({*of}) == 5 for of in zip(*drawn))


def test_a_data_set_that_takes_no_draws_is_named() -> None:
    with pytest.raises(TypeError, match='got list; take DefaultSampler'):
        SeededSampler([1, 2])
