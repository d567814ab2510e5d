# Copyright (c) The mmlcr authors. All rights reserved.
"""Hooks that stop a training at an invalid loss or too many bad clips."""
import math
import os.path as osp
from typing import Any, Dict, List, Optional

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .atomic import atomic_write


class TrainingError(RuntimeError):
    """A training cannot continue."""


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops at a loss that is not finite and names the clips of the batch.

    :class:`mmlcr.engine.AtomicCheckpointHook` writes no checkpoint with
    weights that are not finite, so the last one can be resumed.
    """

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Check the loss.

        Raises:
            TrainingError: If it is not finite.
        """
        loss = torch.as_tensor((outputs or {}).get('loss', 0.)).item()
        if math.isfinite(loss):
            return
        clips = [sample.get('path', '?') for sample in _samples(data_batch)]
        last = runner.message_hub.runtime_info.get('last_ckpt', 'none yet')
        raise TrainingError(
            f'the loss is {loss} in epoch {runner.epoch + 1}, iteration '
            f'{runner.iter + 1}; last checkpoint: {last}; the clips: '
            + ', '.join(clips))


@HOOKS.register_module()
class BadClipsHook(Hook):
    """Counts and lists clips that a data set of this package skipped.

    After each epoch it logs the newly skipped clips, and writes all skipped
    clips to ``bad_clips.txt`` in the work dir, with path and reason in each
    line. A process that stops the training within an epoch writes its own
    list, such as ``bad_clips_1.txt`` for rank 1. After the first epoch the
    hook logs the number of clips that are shorter than the sampled length,
    unless the data set has logged it.

    Args:
        limit (int): Number of clips that may be skipped in a run. Defaults to
            100.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.seen: Dict[str, str] = {}
        self.new: List[str] = []
        self.short: Optional[Dict[str, str]] = {}  # None after it is logged

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Count the clips that were skipped for this batch.

        Raises:
            TrainingError: If there are more than ``limit``.
        """
        for sample in _samples(data_batch):
            self._add(dict(sample.get('skipped', ())))
            if self.short is not None and sample.get('short'):
                self.short[sample.get('path')] = sample.get('short')
        if len(self.seen) > self.limit:
            self._stop(self._write(runner))

    def after_train_epoch(self, runner: Runner) -> None:
        """Count and list the clips of all processes together.

        Raises:
            TrainingError: In every process, if there are more than ``limit``.
        """
        for clips in all_gather_object(self.seen):
            self._add(clips)
        path = self._path(runner, 0)
        if self.new and runner.rank == 0:
            self._write(runner)
            runner.logger.warning(
                f'{len(self.new)} more bad clips were skipped, '
                f'{len(self.seen)} in all ({path}):\n' +
                '\n'.join(self.seen[clip] for clip in self.new))
        self.new = []
        if self.short is not None:
            self._log_short(runner)
        if len(self.seen) > self.limit:
            self._stop(path)

    def _log_short(self, runner: Runner) -> None:
        short: Dict[str, str] = {}
        for clips in all_gather_object(self.short):
            short.update(clips)
        if short and runner.rank == 0:
            path = min(short)
            runner.logger.warning(
                f'{len(short)} clips of the first epoch have fewer frames '
                'than are sampled from, so that frames are repeated: '
                f"{path} {short[path]}. short_clips='stop' of the data set "
                'refuses such clips')
        self.short = None

    def _add(self, clips: Dict[str, str]) -> None:
        new = [path for path in clips if path not in self.seen]
        self.seen.update((path, clips[path]) for path in new)
        self.new += new

    def _stop(self, path: str) -> None:
        raise TrainingError(
            f'{len(self.seen)} bad clips, more than the limit of '
            f'{self.limit}: {path}')

    @staticmethod
    def _path(runner: Runner, rank: int) -> str:
        name = f'bad_clips_{rank}.txt' if rank else 'bad_clips.txt'
        return osp.join(runner.work_dir, name)

    def _write(self, runner: Runner) -> str:
        path = self._path(runner, runner.rank)
        lines = [f'{clip}\t{reason}\n' for clip, reason in self.seen.items()]
        atomic_write(''.join(lines).encode(), path)
        return path


def _samples(batch: Any) -> Any:
    return batch.get('data_samples', ()) if isinstance(batch, dict) else ()
