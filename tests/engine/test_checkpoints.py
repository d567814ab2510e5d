# Copyright (c) The mmlcr authors. All rights reserved.
"""Checkpoints: as many as are wanted stay, and the last is named."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from mmlcr.engine import WholeCheckpointHook


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
    hook = WholeCheckpointHook(interval=1, max_keep_ckpts=keep)
    hook.before_train(runner)
    for step in (1, 2, 3, 3, 4):  # the best one's call is of the same step
        hook._save_checkpoint_with_step(runner, step, {})
    found = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert found == [f'epoch_{step}.pth' for step in left]
    last = (tmp_path / 'last_checkpoint').read_text()
    assert last == str(tmp_path / 'epoch_4.pth')
