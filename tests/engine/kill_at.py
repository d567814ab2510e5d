# Copyright (c) The mmlcr authors. All rights reserved.
"""Runs tools/train.py, and kills it at the moment given by KILL_AT."""
import os
import runpy
import signal
from pathlib import Path
from typing import Any

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.engine import SeedHook, atomic


def die() -> None:
    """Die as by SIGKILL: nothing is closed, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_an_iteration() -> None:
    """``iteration:4``: before the fifth."""
    original = SeedHook.before_train_iter

    def before(self: SeedHook, runner: Any, *args: Any, **kwargs: Any) -> None:
        rank = int(os.environ.get('KILL_RANK', 0))
        moment = f'iteration:{runner.iter}'
        if os.environ.get('KILL_AT') == moment and runner.rank == rank:
            die()
        original(self, runner, *args, **kwargs)

    SeedHook.before_train_iter = before


def die_at(name: str) -> None:
    """``fsync:2``: in the second call, with half of the file on the disk."""
    what, _, number = os.environ.get('KILL_AT', '').partition(':')
    if what != name:
        return
    original, left = getattr(os, name), [int(number)]

    def call(*args: Any) -> Any:
        left[0] -= 1
        if left[0]:
            return original(*args)
        if name == 'fsync':
            os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
        die()

    setattr(atomic.os, name, call)


if __name__ == '__main__':
    die_before_an_iteration()
    for function in 'fsync', 'replace':
        die_at(function)
    tool = Path(__file__).resolve().parents[2] / 'tools/train.py'
    runpy.run_path(str(tool), run_name='__main__')
