# Copyright (c) The mmlcr authors. All rights reserved.
"""Clips that cannot be used, also those that take a process along."""
import multiprocessing
import os
from contextlib import contextmanager
from typing import Any, Iterator, List

import torch
from mmengine.runner import Runner
from torch.utils.data import get_worker_info

MOST_WORKERS = 256  # of a loader, of those that are known


class ClipError(RuntimeError):
    """A clip that cannot be used; the message names it."""


class AtWork:
    """The clip that each process of a loader is at, in shared memory."""

    def __init__(self) -> None:
        # process and number of the clip, -1 between two of them
        self.clips = torch.full((MOST_WORKERS, 2), -1).share_memory_()

    @contextmanager
    def on(self, clip: int) -> Iterator[None]:
        """Note the clip while this process is at it."""
        worker = get_worker_info()
        if worker is None or worker.id >= MOST_WORKERS:
            yield
            return
        place = self.clips[worker.id]
        place[0], place[1] = os.getpid(), clip
        try:
            yield
        finally:
            place[1] = -1

    def left(self) -> List[int]:
        """Those at which child processes of this one ended."""
        alive = [child.pid for child in multiprocessing.active_children()]
        return [
            clip for process, clip in self.clips.tolist()
            if clip >= 0 and process not in alive
        ]


@contextmanager
def naming_clips(runner: Runner) -> Iterator[None]:
    """Name the clip when a process of a loader is killed, as by a decoder.

    torch tells the number of the process alone, by an error that may be
    raised anywhere, so that another one may have come out of it.

    Args:
        runner (Runner): That trains or tests inside.

    Raises:
        ClipError: In place of that error.
    """
    try:
        yield
    except Exception as error:
        paths = [path for loop in ('_train_loop', '_val_loop', '_test_loop')
                 for path in _paths(getattr(runner, loop, None))]
        if not paths:
            raise
        raise ClipError(
            f'{", ".join(paths)}: a process died of it: {error}; '
            'tools/scan_clips.py finds all such clips') from error


def _paths(loop: Any) -> Iterator[str]:
    dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
    while dataset is not None and not hasattr(dataset, 'at_work'):
        dataset = getattr(dataset, 'dataset', None)  # of a wrapper
    if dataset is not None:
        for clip in dataset.at_work.left():
            yield dataset.get_data_info(clip)[dataset.clip_key]
