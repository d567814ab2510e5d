# Copyright (c) The mmlcr authors. All rights reserved.
"""Randomness depends on seed, epoch and sample, and on nothing else."""
import pickle
import random
from copy import deepcopy
from typing import Any, Callable, List

import numpy as np
import pytest
import torch
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)
from torch.utils.data import DataLoader

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmlcr.engine import SampleSeed, SeededSampler, seed_generators

DRAWN = 4  # samples


@pytest.fixture
def dataset(make_video: Callable, tmp_path: Any) -> Any:
    """All random draws of a sample: time, crop, flip and dropped patches."""
    lines = []
    for number in range(DRAWN):
        make_video(f'{number}.mp4', num_frames=30, step=number)
        lines.append(f'{number}.mp4 0\n')
    (tmp_path / 'list.txt').write_text(''.join(lines))
    return DATASETS.build(
        dict(
            type='ValidatedVideoDataset',
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
        sampler.skip(epoch, sampler.seen_clip_ids(skipped, 1))
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
    """A sample does not depend on those that were drawn before."""
    assert all(map(same, load(dataset, 3, skipped=2), load(dataset, 3)[2:]))
    expected = dataset[SampleSeed(1, 5, 7)]['inputs']
    random.random(), np.random.rand(), torch.rand(1)
    assert torch.equal(dataset[SampleSeed(1, 5, 7)]['inputs'], expected)


def test_other_epochs_seeds_and_samples_draw_otherwise(dataset: Any) -> None:
    pictures = [
        dataset[SampleSeed(0, epoch, seed)]['inputs']
        for epoch, seed in ((0, 0), (1, 0), (0, 1), (2, 0))
    ]
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert not torch.equal(picture, other)
    drawn = set()
    for numbers in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2)):
        seed_generators(*numbers)
        drawn.add((random.random(), np.random.rand(), float(torch.rand(1))))
    assert len(drawn) == 5
    assert all(len({*values}) == 5 for values in zip(*drawn))


def test_a_data_set_that_takes_no_seeds_is_named(dataset: Any) -> None:
    with pytest.raises(TypeError, match='got list; take DefaultSampler'):
        SeededSampler([1, 2])
    with pytest.raises(TypeError, match='got ClassBalancedDataset; take'):
        dataset.get_cat_ids = lambda index: [0]
        SeededSampler(ClassBalancedDataset(dataset, 1e-3))
    foreign = VideoDataset(dataset.ann_file, [], dict(
        video=dataset.data_prefix['video']))
    with pytest.raises(TypeError, match='got VideoDataset; take Default'):
        SeededSampler(ConcatDataset([dataset, foreign],
                                    ignore_keys=['classes']))


# ---- data sets in MMEngine's wrappers


def wrap(kind: str, dataset: Any) -> Any:
    """Four clips become eight samples, or 12."""
    if kind == 'repeat':
        return RepeatDataset(dataset, 2)
    if kind == 'concat':
        return ConcatDataset([dataset, deepcopy(dataset)])
    wrapper = ConcatDataset([dataset, deepcopy(dataset)])
    wrapper.datasets[1] = RepeatDataset(dataset, 2)
    wrapper._fully_initialized = False
    wrapper.full_init()
    return wrapper


KINDS = pytest.mark.parametrize('kind', ['repeat', 'concat', 'nested'])


@KINDS
def test_wrapped_samples_depend_on_seed_epoch_and_index(
        kind: str, dataset: Any) -> None:
    wrapped = wrap(kind, dataset)
    count = len(wrapped)
    assert count == dict(repeat=8, concat=8, nested=12)[kind]
    expected = load(wrapped, 1)
    assert len(expected) == count
    for workers in (0, 3):
        random.seed(), np.random.seed(), torch.seed()
        assert all(map(same, load(wrapped, 1, workers), expected))
    order = list(SeededSampler(wrapped, seed=7))
    for index in order:  # the numbers of the wrapper, not of a data set
        random.random(), np.random.rand(), torch.rand(1)
        alone = dataset[SampleSeed(index % DRAWN, 0, 7, sample=int(index))]
        assert torch.equal(wrapped[index]['inputs'], alone['inputs'])
    pictures = [wrapped[SampleSeed(at, 0, 7)]['inputs']
                for at in range(0, count, DRAWN)]
    for number, picture in enumerate(pictures):  # of one clip
        for other in pictures[:number]:
            assert not torch.equal(picture, other)


@KINDS
@pytest.mark.parametrize('skipped', [1, 5])
def test_wrapped_samples_go_on_inside_of_an_epoch(
        skipped: int, kind: str, dataset: Any) -> None:
    wrapped = wrap(kind, dataset)
    whole, rest = load(wrapped, 3), load(wrapped, 3, skipped=skipped)
    assert len(rest) == len(wrapped) - skipped
    assert all(map(same, rest, whole[skipped:]))


@KINDS
def test_the_next_clip_in_place_of_a_bad_one(kind: str, dataset: Any) -> None:
    """It is the next clip of the same data set, with its own seed."""
    dataset.bad_clips = 'skip'
    bad = dataset.get_data_info(0)['filename']
    wrapped = wrap(kind, dataset)
    expected = [wrapped[SampleSeed(at, 2, 7)]['inputs']
                for at in range(len(wrapped))]
    open(bad, 'w').close()
    for first in range(0, len(wrapped), DRAWN):
        found = wrapped[SampleSeed(first, 2, 7)]
        assert torch.equal(found['inputs'], expected[first + 1])
        assert found['data_samples'].skipped[0][0] == bad


def test_clips_of_two_data_sets_are_not_confused(dataset: Any) -> None:
    """Not even with equal relative paths; repetitions have equal ids."""
    ids = SeededSampler(wrap('concat', dataset)).clip_ids
    assert len({*ids.tolist()}) == 2 * DRAWN
    assert (ids[:DRAWN] == dataset.clip_ids).all()
    ids = SeededSampler(wrap('repeat', dataset)).clip_ids
    assert (ids == np.tile(dataset.clip_ids, 2)).all()


def test_a_seed_is_an_index() -> None:
    seed = SampleSeed(7, epoch=1, seed=2)
    for moved, index in ((seed - 3, 4), (seed % 5, 2), (seed, 7),
                         (pickle.loads(pickle.dumps(seed % 5)), 2)):
        assert moved == index and isinstance(moved, SampleSeed)
        assert (moved.epoch, moved.seed, moved.sample) == (1, 2, 7)
    assert repr(seed - 3) == 'SampleSeed(4, epoch=1, seed=2, sample=7)'
    other = (seed - 3).replaced_by(0)
    assert (other, other.sample) == (0, 3)
