# Copyright (c) The mmlcr authors. All rights reserved.
"""Checkpoints that are written completely or not at all."""
import os.path as osp
from typing import Any, Dict, Optional

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .atomic import atomic_write
from .hooks import TrainingError
from .progress import convert_progress, record_progress


@register_backend('atomic')
class AtomicFileBackend(LocalBackend):
    """Local files that are replaced atomically."""

    def put(self, obj: bytes, filepath: Any) -> None:
        """Write bytes."""
        atomic_write(obj, filepath)

    def put_text(self,
                 obj: str,
                 filepath: Any,
                 encoding: str = 'utf-8') -> None:
        """Write a text."""
        atomic_write(obj.encode(encoding), filepath)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """:class:`mmengine.hooks.CheckpointHook` that may be killed at any time.

    A checkpoint is written to a temporary file beside its path and renamed.
    Then ``last_checkpoint`` is updated, and only then are older checkpoints
    removed. MMEngine removes them first, and writes directly to the path.

    Arguments are those of ``CheckpointHook``; ``backend_args`` default to
    :class:`AtomicFileBackend`.

    Raises:
        OSError: If a checkpoint can't be written.
        TrainingError: If a weight is not finite. Earlier checkpoints stay
            valid in both cases.
    """

    def __init__(self,
                 *args: Any,
                 backend_args: Optional[dict] = None,
                 **kwargs: Any) -> None:
        super().__init__(
            *args, backend_args=backend_args or dict(backend='atomic'),
            **kwargs)
        self._progress: Dict[str, int] = {}

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the checkpoint again with its score, and the best one."""
        self._progress = dict(epoch=runner.epoch, iter=runner.iter)
        super().after_val_epoch(runner, metrics)
        self._progress = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the progress of the run.

        After validation, the epoch of MMEngine's flexible runner is one too
        large.
        """
        checkpoint['meta'].update(self._progress)
        record_progress(runner, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert the progress of the checkpoint to the units of this run."""
        if runner._resume:
            convert_progress(runner, checkpoint)

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        for name, weight in runner.model.state_dict().items():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise TrainingError(
                    f'{name} is not finite: no checkpoint is written, earlier '
                    'ones are unchanged')
        removed = []
        if self.max_keep_ckpts > 0:
            if step not in self.keep_ckpt_ids:
                # MMEngine bounds the deque: append() alone would drop one
                while len(self.keep_ckpt_ids) >= self.max_keep_ckpts:
                    removed.append(self.keep_ckpt_ids.popleft())
                self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids',
                                           list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args)
        if not is_main_process():
            return
        atomic_write(
            str(self.last_ckpt).encode(),
            osp.join(runner.work_dir, 'last_checkpoint'))
        for old in removed:
            self._remove(
                self.file_backend.join_path(self.out_dir,
                                            self.filename_tmpl.format(old)))

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # as DeepSpeed writes
            self.file_backend.rmtree(path)
