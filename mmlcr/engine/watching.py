# Copyright (c) The mmlcr authors. All rights reserved.
"""Hooks that stop a training before it is spoilt, and say by what."""
import math
import os.path as osp
from typing import Any, Dict, List, Optional

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .files import write_whole


class TrainingError(RuntimeError):
    """A training that is not worth going on with."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at a loss that is not finite, with the clips of the batch.

    The last checkpoint is from before:
    :class:`mmlcr.engine.WholeCheckpointHook` writes none with weights that
    are not finite.
    """

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Look at the loss.

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

    The list of an epoch goes to the log, and all so far to ``bad_clips.txt``
    in the work dir, a line of path and reason each. A process that stops the
    training inside of an epoch writes a list of its own: ``bad_clips_1.txt``
    that of rank 1. The number of clips that are shorter than what is sampled,
    where nobody could know it before, is logged after the first epoch.

    Args:
        limit (int): Clips that may be skipped in a run. Defaults to 100.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.seen: Dict[str, str] = {}
        self.new: List[str] = []
        self.short: Optional[Dict[str, str]] = {}  # None once it is logged

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Count those that were skipped for this batch.

        Raises:
            TrainingError: If there are too many.
        """
        for sample in _samples(data_batch):
            self._see(dict(sample.get('skipped', ())))
            if self.short is not None and sample.get('short'):
                self.short[sample.get('path')] = sample.get('short')
        if len(self.seen) > self.limit:
            self._stop(self._write(runner))

    def after_train_epoch(self, runner: Runner) -> None:
        """Those of all processes.

        Raises:
            TrainingError: If there are too many, in each of them.
        """
        for of_process in all_gather_object(self.seen):
            self._see(of_process)
        path = self._path(runner, 0)
        if self.new and runner.rank == 0:
            self._write(runner)
            runner.logger.warning(
                f'{len(self.new)} more bad clips were skipped, '
                f'{len(self.seen)} so far ({path}):\n' +
                '\n'.join(self.seen[clip] for clip in self.new))
        self.new = []
        if self.short is not None:
            self._log_short(runner)
        if len(self.seen) > self.limit:
            self._stop(path)

    def _log_short(self, runner: Runner) -> None:
        short: Dict[str, str] = {}
        for of_process in all_gather_object(self.short):
            short.update(of_process)
        if short and runner.rank == 0:
            path = min(short)
            runner.logger.warning(
                f'{len(short)} clips of the first epoch have fewer frames '
                'than are sampled from, so that frames are repeated: '
                f"{path} {short[path]}. short_clips='stop' of the data set "
                'refuses such clips')
        self.short = None

    def _see(self, clips: Dict[str, str]) -> None:
        unseen = [path for path in clips if path not in self.seen]
        self.seen.update((path, clips[path]) for path in unseen)
        self.new += unseen

    def _stop(self, path: str) -> None:
        raise TrainingError(
            f'{len(self.seen)} bad clips, more than the {self.limit} that may '
            f'be: {path}')

    @staticmethod
    def _path(runner: Runner, rank: int) -> str:
        name = f'bad_clips_{rank}.txt' if rank else 'bad_clips.txt'
        return osp.join(runner.work_dir, name)

    def _write(self, runner: Runner) -> str:
        path = self._path(runner, runner.rank)
        lines = [f'{clip}\t{reason}\n' for clip, reason in self.seen.items()]
        write_whole(''.join(lines).encode(), path)
        return path


def _samples(batch: Any) -> Any:
    return batch.get('data_samples', ()) if isinstance(batch, dict) else ()
