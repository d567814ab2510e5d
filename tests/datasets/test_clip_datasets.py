# Copyright (c) The mmlcr authors. All rights reserved.
"""Frames that a data set keeps in memory: the same samples, and errors."""
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.dataset.dataset_wrapper import RepeatDataset
from torch.utils.data import DataLoader

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError
from mmlcr.engine import SampleSeed
from mmlcr.video import VideoReader

CONFIG = Path(__file__).resolve().parents[2] / 'configs/lcr_weizmann.py'


@pytest.fixture
def build(tmp_path: Path, make_video: Callable) -> Callable[..., Any]:
    """The training set of Weizmann's config, of three clips."""
    for name, step in (('a', 2), ('b', 5), ('c', 3)):
        make_video(f'{name}.mp4', num_frames=40, step=step)
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\nc.mp4 2\n')

    def make(**options: Any) -> Any:
        dataset = Config.fromfile(CONFIG).train_dataloader.dataset
        dataset.update(
            ann_file=str(tmp_path / 'list.txt'), classes=(),
            data_prefix=dict(video=str(tmp_path)), **options)
        return DATASETS.build(dataset)

    return make


def samples(dataset: Any, epochs: int = 2, workers: int = 0) -> List[Any]:
    """All samples of some epochs, as a training takes them."""
    seeds = [SampleSeed(index, epoch, 3)
             for epoch in range(epochs) for index in range(len(dataset))]
    loader = DataLoader(dataset, None, sampler=seeds, num_workers=workers,
                        multiprocessing_context='fork' if workers else None)
    return [*loader]


def assert_same(found: List[Any], expected: List[Any]) -> None:
    for sample, other in zip(found, expected):
        assert torch.equal(sample['inputs'], other['inputs'])
        assert torch.equal(sample['data_samples'].tube_mask,
                           other['data_samples'].tube_mask)
        assert (sample['data_samples'].metainfo ==
                other['data_samples'].metainfo)


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_are_the_same_bit_for_bit(build: Callable,
                                          workers: int) -> None:
    expected = samples(build(cache=None))
    cached = build(cache='ram', open_files=False)
    for _ in range(2):
        assert_same(samples(cached, workers=workers), expected)
        assert cached.frame_cache.present == 3  # also of what workers decoded
    small = build(cache='ram', cache_limit=300e3 / 2**30)
    assert_same(samples(small, workers=workers), expected)
    assert small.frame_cache.present == 0


def test_samples_do_not_depend_on_what_was_drawn_before(
        build: Callable) -> None:
    """As the order of the steps of MMAction2's ColorJitter would."""
    expected = samples(build())
    for _ in range(4):
        np.random.rand(7)
        assert_same(samples(build()), expected)


def test_clips_that_are_opened_before_training_are_cached(
        build: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that training opens no file any more."""
    cached = build(cache='ram', open_files=True)
    assert cached.frame_cache.present == 3
    expected = samples(build(cache=None))

    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError('a file is opened')

    monkeypatch.setattr(VideoReader, '__init__', refuse)
    monkeypatch.setattr(VideoReader, '__del__', lambda self: None)
    assert_same(samples(cached), expected)


def test_a_repeated_set_has_one_cache(build: Callable) -> None:
    cached = build(cache='ram', open_files=False)
    repeated = RepeatDataset(cached, 2)
    batch = pseudo_collate([repeated[index] for index in range(6)])
    assert len(batch['inputs']) == 6 and cached.frame_cache.present == 3


def test_a_damaged_clip_is_named(build: Callable, tmp_path: Path) -> None:
    """And the next one takes its place where that is asked for."""
    data = (tmp_path / 'b.mp4').read_bytes()
    (tmp_path / 'b.mp4').write_bytes(b'x' * len(data))
    with pytest.raises(ClipError, match=r'b\.mp4: '):
        build(cache='ram', open_files=True)
    cached = build(cache='ram', open_files=False, bad_clips='skip')
    sample = cached[SampleSeed(1, 0, 3)]
    assert sample['data_samples'].path.endswith('c.mp4')
    assert cached.frame_cache.present == 1


@pytest.mark.parametrize('options, message', [
    (dict(cache='disk'), "cache must be 'ram' or None, got 'disk'"),
    (dict(cache='ram', cache_limit=0.), 'cache_limit must be positive'),
], ids=['cache', 'limit'])
def test_bad_arguments(build: Callable, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_other_decoders_have_no_cache(build: Callable) -> None:
    pipeline = Config.fromfile(CONFIG).train_pipeline
    pipeline[0].type, pipeline[2].type = 'DecordInit', 'DecordDecode'
    with pytest.raises(ValueError, match='needs VideoInit and VideoDecode'):
        build(cache='ram', pipeline=pipeline)
    build(cache=None, pipeline=pipeline)
