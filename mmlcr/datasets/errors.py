# Copyright (c) The mmlcr authors. All rights reserved.
"""Errors of clips, also of those that crash a worker of a data loader."""
import multiprocessing
import os
from contextlib import contextmanager
from typing import Any, Iterator, List

import torch
from mmengine.runner import Runner
from torch.utils.data import get_worker_info

from mmlcr.engine.wrappers import leaf_datasets

MAX_WORKERS = 256  # of a data loader; clips of further ones are not tracked


class ClipError(RuntimeError):
    """A clip that cannot be used; the message names it."""


class WorkerTracker:
    """Tracks in shared memory which clip each worker of a loader reads."""

    def __init__(self) -> None:
        # process id and index of the clip, -1 between two clips
        self.clips = torch.full((MAX_WORKERS, 2), -1).share_memory_()

    @contextmanager
    def track(self, clip: int) -> Iterator[None]:
        """Record the index of a clip while this process reads it."""
        worker = get_worker_info()
        if worker is None or worker.id >= MAX_WORKERS:
            yield
            return
        record = self.clips[worker.id]
        record[0], record[1] = os.getpid(), clip
        try:
            yield
        finally:
            record[1] = -1

    def failed(self) -> List[int]:
        """Return the indices of the clips at which a worker process ended."""
        alive = [child.pid for child in multiprocessing.active_children()]
        return [
            clip for process, clip in self.clips.tolist()
            if clip >= 0 and process not in alive
        ]


@contextmanager
def report_failed_clips(runner: Runner) -> Iterator[None]:
    """Name the clip when a worker of a data loader is killed or crashes.

    torch reports only the number of the process, in an error that may be
    raised anywhere and may cause another one.

    Args:
        runner (Runner): The runner that trains or tests inside of the context.

    Raises:
        ClipError: In place of that error.
    """
    try:
        yield
    except Exception as error:
        paths = [path for loop in ('_train_loop', '_val_loop', '_test_loop')
                 for path in _failed_paths(getattr(runner, loop, None))]
        if not paths:
            raise
        raise ClipError(
            f'{", ".join(paths)}: a worker process died on it: {error}; '
            '"mmlcr scan" finds all such clips') from error


def _failed_paths(loop: Any) -> Iterator[str]:
    """Yield the paths of the clips at which workers of a loader ended."""
    loader = getattr(loop, 'dataloader', None)
    for dataset in leaf_datasets(getattr(loader, 'dataset', None)):
        # other wrappers than those of leaf_datasets
        while dataset is not None and not hasattr(dataset, 'worker_tracker'):
            dataset = getattr(dataset, 'dataset', None)
        if dataset is not None:
            for clip in dataset.worker_tracker.failed():
                yield dataset.get_data_info(clip)[dataset.clip_key]
