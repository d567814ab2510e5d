# Copyright (c) The mmlcr authors. All rights reserved.
"""Clips that are rendered while they are read."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmaction.registry import DATASETS
from mmlcr.datasets import rendered_people
from mmlcr.engine import SampleSeed
from mmlcr.people import sample_look, sample_scene

CONFIG = Path(__file__).resolve().parents[2] / 'configs/lcr_people.py'


def build(**changes: Any) -> Any:
    dataset = Config.fromfile(CONFIG).train_dataloader.dataset
    return DATASETS.build({**dataset, **changes})


def equal(first: dict, second: dict) -> bool:
    return torch.equal(first['inputs'], second['inputs'])


def test_a_clip_depends_on_seed_epoch_and_sample_alone() -> None:
    dataset = build()
    first = dataset[SampleSeed(3, 2, 0)]
    np.random.rand(5)
    assert equal(first, dataset[SampleSeed(3, 2, 0)])
    assert equal(first, build()[SampleSeed(3, 2, 0)])
    for seed in (SampleSeed(4, 2, 0), SampleSeed(3, 1, 0),
                 SampleSeed(3, 2, 1)):
        assert not equal(first, dataset[seed])
    assert first['inputs'].shape == (1, 4, 8, 64, 80)
    assert first['data_samples'].gt_label.tolist() == [3]
    assert first['data_samples'].tube_mask.sum() == 40


def test_clips_of_a_test_are_the_same_in_every_epoch() -> None:
    dataset = build(test_mode=True, pipeline=Config.fromfile(
        CONFIG).val_pipeline)
    assert equal(dataset[SampleSeed(3, 2, 0)], dataset[SampleSeed(3, 1, 5)])
    assert equal(dataset[SampleSeed(3, 2, 0)], dataset[3])


def test_other_seeds_are_other_programs() -> None:
    first, same, other = (build(program_seed=seed) for seed in (0, 0, 1))
    assert first.programs == same.programs
    assert not {*map(repr, first.programs)} & {*map(repr, other.programs)}
    assert len(first.metainfo['classes']) == len(first.programs) == 256


def test_workers_draw_the_same_clips() -> None:
    config = Config.fromfile(CONFIG)
    found = []
    for workers in (0, 2):
        loader = config.train_dataloader.copy()
        loader.update(num_workers=workers, persistent_workers=False,
                      batch_size=4)
        loader.dataset.length = 12
        batches = list(Runner.build_dataloader(loader, seed=7))
        found.append(torch.stack(
            [clip for batch in batches for clip in batch['inputs']]))
    assert len(found[0]) == 12 and torch.equal(*found)


@pytest.mark.parametrize('changes, message', [
    (dict(num_classes=0), 'num_classes must be positive, got 0'),
    (dict(length=0), 'length must be positive'),
    (dict(intervals=()), 'intervals and size must be positive'),
    (dict(size=(0, 8)), 'intervals and size must be positive'),
], ids=['classes', 'length', 'intervals', 'size'])
def test_bad_numbers_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_clips_grow_difficult_by_the_epoch(
        monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def render(scene: Any, rng: Any, times: np.ndarray, size: tuple,
               difficulty: float) -> np.ndarray:
        found.append(difficulty)
        return np.zeros((len(times), *size[::-1], 3), np.uint8)

    monkeypatch.setattr(rendered_people, 'render_clip', render)
    for options in (dict(easy_epochs=10), dict(easy_epochs=0),
                    dict(easy_epochs=10, test_mode=True)):
        dataset = build(**options)
        for epoch in (0, 5, 10, 20):
            dataset[SampleSeed(3, epoch, 0)]
    assert found == [0, 0.5, 1, 1] + 8 * [1]


def test_what_hides_the_motion_comes_with_the_difficulty() -> None:
    """Half of the clips of a walker have something of it, none at zero."""
    times, size = 0.12 * np.arange(8), (160, 128)
    walker = sample_scene(np.random.default_rng(1))
    hidden = []
    for difficulty in (0., 1.):
        looks = [sample_look(np.random.default_rng(seed), walker, times, size,
                             difficulty) for seed in range(200)]
        hidden.append(np.mean([
            look.camera.path.any() or look.camera.follows or look.noise > 3
            or look.quality is not None or look.occluder is not None
            for look in looks]))
    assert hidden[0] == 0 and hidden[1] > 0.5
