# Copyright (c) The mmlcr authors. All rights reserved.
"""Checkpoints that are never there in part."""
import os.path as osp
from typing import Any, Dict, Optional

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .files import write_whole
from .progress import convert_progress, record_progress
from .watching import TrainingError


@register_backend('whole')
class WholeFileBackend(LocalBackend):
    """Local files that are there as a whole, or as they were before."""

    def put(self, obj: bytes, filepath: Any) -> None:
        """Write bytes."""
        write_whole(obj, filepath)

    def put_text(self,
                 obj: str,
                 filepath: Any,
                 encoding: str = 'utf-8') -> None:
        """Write a text."""
        write_whole(obj.encode(encoding), filepath)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """:class:`mmengine.hooks.CheckpointHook` that may be killed at any time.

    A checkpoint is written beside its place and moved there at the end; then
    ``last_checkpoint`` names it; only then are older ones removed. MMEngine
    removes them first, and writes into the file that is found later.

    Arguments are those of ``CheckpointHook``; ``backend_args`` default to
    :class:`WholeFileBackend`.

    Raises:
        OSError: If a checkpoint can't be written; the one before is whole.
        TrainingError: If a weight is not finite; so it is.
    """

    def __init__(self,
                 *args: Any,
                 backend_args: Optional[dict] = None,
                 **kwargs: Any) -> None:
        super().__init__(
            *args, backend_args=backend_args or dict(backend='whole'),
            **kwargs)
        self._progress: Dict[str, int] = {}

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save again, with the best score in it, and if it is best."""
        self._progress = dict(epoch=runner.epoch, iter=runner.iter)
        super().after_val_epoch(runner, metrics)
        self._progress = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note how far the run is.

        After validation, MMEngine's flexible runner counts one too many.
        """
        checkpoint['meta'].update(self._progress)
        record_progress(runner, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Go on in the units of this run."""
        if runner._resume:
            convert_progress(runner, checkpoint)

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        for name, weight in runner.model.state_dict().items():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise TrainingError(
                    f'{name} is not finite: no checkpoint is written, those '
                    'before are whole')
        removed = []
        if self.max_keep_ckpts > 0:
            if step not in self.keep_ckpt_ids:
                # MMEngine bounds the deque: an append alone would drop one
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
        write_whole(
            str(self.last_ckpt).encode(),
            osp.join(runner.work_dir, 'last_checkpoint'))
        for old in removed:
            self._remove(
                self.file_backend.join_path(self.out_dir,
                                            self.filename_tmpl.format(old)))

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # of DeepSpeed
            self.file_backend.rmtree(path)
