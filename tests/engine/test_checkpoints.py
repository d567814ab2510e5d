# Copyright (c) The mmlcr authors. All rights reserved.
"""Checkpoints: which of them are kept, and the name of the last one."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from mmlcr.engine import AtomicCheckpointHook


@pytest.mark.parametrize('keep, left', [(1, [4]), (2, [3, 4]),
                                        (-1, [1, 2, 3, 4])])
def test_older_ones_are_removed(keep: int, left: list,
                                tmp_path: Path) -> None:

    def save(folder: str, name: str, *args: Any, **options: Any) -> None:
        Path(folder, name).write_text('weights')

    runner = SimpleNamespace(
        model=torch.nn.Linear(1, 1),
        work_dir=str(tmp_path),
        logger=logging.getLogger('test'),
        message_hub=MessageHub('checkpoints'),
        save_checkpoint=save)
    hook = AtomicCheckpointHook(interval=1, max_keep_ckpts=keep)
    hook.before_train(runner)
    for step in (1, 2, 3, 3, 4):  # the best one's call is of the same step
        hook._save_checkpoint_with_step(runner, step, {})
    found = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert found == [f'epoch_{step}.pth' for step in left]
    last = (tmp_path / 'last_checkpoint').read_text()
    assert last == str(tmp_path / 'epoch_4.pth')


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
        model=torch.nn.Linear(1, 1),
        message_hub=hub,
        logger=logging.getLogger(__name__),
        save_checkpoint=save)
    hook = AtomicCheckpointHook(save_best='top1', rule='greater')
    hook.before_train(runner)
    hook.after_val_epoch(runner, dict(top1=0.75))
    assert hub.get_info('best_score') == 0.75
    assert (tmp_path / 'best_top1_epoch_2.pth').is_file()
