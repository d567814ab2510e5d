# Copyright (c) The mmlcr authors. All rights reserved.
"""If a worker of a data loader ends, the error names its clip."""
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError, report_failed_clips

NO_PROCESS = 2**30  # larger than the process ids of Linux


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 0\n')
    return DATASETS.build(
        dict(
            type='ValidatedVideoDataset', ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(video='clips'), num_classes=1, pipeline=[],
            check_files=False))


@pytest.mark.parametrize('wrapper', [
    lambda inner, other: inner,
    lambda inner, other: RepeatDataset(inner, 2),
    lambda inner, other: ConcatDataset([other, inner]),
    lambda inner, other: ClassBalancedDataset(inner, 1e-3),
], ids=['plain', 'repeat', 'concat', 'class-balanced'])
def test_clips_of_wrapped_data_sets(wrapper: Any, dataset: Any,
                                    tmp_path: Path) -> None:
    dataset.get_cat_ids = lambda index: [0]
    dataset.worker_tracker.clips[1, 0] = NO_PROCESS
    dataset.worker_tracker.clips[1, 1] = 1
    other = DATASETS.build(
        dict(
            type='ValidatedVideoDataset', ann_file=dataset.ann_file,
            data_prefix=dict(video='others'), num_classes=1, pipeline=[],
            check_files=False))
    loader = SimpleNamespace(dataset=wrapper(dataset, other))
    runner: Any = SimpleNamespace(
        _train_loop=SimpleNamespace(dataloader=loader))
    with pytest.raises(ClipError,
                       match='^clips/b.mp4: a worker process died on it:'):
        with report_failed_clips(runner):
            raise RuntimeError('DataLoader worker exited unexpectedly')


def test_other_errors_are_not_changed(dataset: Any) -> None:
    loader = SimpleNamespace(dataset=ConcatDataset([dataset]))
    runner: Any = SimpleNamespace(
        _train_loop=SimpleNamespace(dataloader=loader))
    with pytest.raises(RuntimeError, match='^something else$'):
        with report_failed_clips(runner):
            raise RuntimeError('something else')
