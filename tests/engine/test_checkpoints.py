# Copyright (c) The mmlcr authors. All rights reserved.
"""Checkpoints of a run that was killed between two steps of the hook."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmengine.logging import MessageHub
from torch import nn

from mmlcr.engine import WholeCheckpointHook


def test_the_best_that_a_kill_removed_is_not_missed(tmp_path: Path) -> None:
    """It was removed for a better one, which the run never wrote."""

    def save(folder: str, filename: str, **kwargs: Any) -> None:
        Path(folder, filename).touch()

    hub = MessageHub.get_instance(str(tmp_path))
    hub.update_info('best_ckpt', str(tmp_path / 'best_top1_epoch_1.pth'))
    hub.update_info('best_score', 0.5)
    runner = SimpleNamespace(
        work_dir=str(tmp_path),
        epoch=2,
        iter=8,
        model=nn.Linear(1, 1),
        message_hub=hub,
        logger=logging.getLogger(__name__),
        save_checkpoint=save)
    hook = WholeCheckpointHook(save_best='top1', rule='greater')
    hook.before_train(runner)
    hook.after_val_epoch(runner, dict(top1=0.75))
    assert hub.get_info('best_score') == 0.75
    assert (tmp_path / 'best_top1_epoch_2.pth').is_file()
