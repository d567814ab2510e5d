# Copyright (c) The mmlcr authors. All rights reserved.
"""Kernels that are compiled in the background, and where they are stored."""
import logging
import os
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from lcr_cases import build, draw_clip

from mmlcr.backends import select_backend

warmup = pytest.importorskip(
    'mmlcr.backends.numba.warmup', reason='needs Numba', exc_type=ImportError)
KIND = 'CrossRWKVLayer'
# a tiny model, whose kernels are those of any size
MODEL = ('import sys, time, torch, mmlcr\n'
         'from mmlcr.models import LCR\n'
         'model = LCR(embed_dims=16, num_heads=2, num_layers=1, '
         'patch_size=4).eval()\n'
         'clip = torch.zeros(1, 4, 1, 8, 8)\n')


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is compiled, and no process starts."""
    monkeypatch.setattr(warmup, '_ready', set())
    monkeypatch.setattr(warmup, '_processes', {})
    monkeypatch.setattr(warmup, 'cache_folder', lambda: str(tmp_path))
    return tmp_path


class Process:
    """A process in the background, running or ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.returncode: Any = None

    def poll(self) -> Any:
        return self.returncode


def test_another_backend_until_they_are_compiled(
        fresh: Path, monkeypatch: pytest.MonkeyPatch, redraw: Callable,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(warmup.subprocess, 'Popen', Process)
    model, clip = build(redraw), draw_clip(1, 1)
    with torch.no_grad(), caplog.at_level(logging.WARNING, 'mmlcr'):
        for _ in range(2):
            backend, reasons = select_backend(model, clip)
            assert backend.name == 'eager'
            assert reasons == 'numba: its kernels are being compiled'
        assert caplog.text.count('compiles kernels for CrossRWKVLayer') == 1
        process = warmup._processes[KIND]
        assert process.args[0][-1] == KIND
        Path(warmup._marker(str(fresh), KIND)).touch()
        process.returncode = 0
        assert select_backend(model, clip)[0].name == 'numba'
        model.backend = 'numba'
        assert select_backend(model, clip)[0].name == 'numba'


@pytest.mark.parametrize('failure', ['code', 'no-python', 'no-folder'])
def test_they_are_compiled_at_once_where_nothing_else_works(
        failure: str, fresh: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:

    def start(*args: Any, **kwargs: Any) -> Process:
        if failure == 'no-python':
            raise FileNotFoundError('no such file')
        process = Process()
        process.returncode = 3
        return process

    monkeypatch.setattr(warmup.subprocess, 'Popen', start)
    if failure == 'no-folder':
        monkeypatch.setattr(warmup, 'cache_folder', lambda: None)
    with caplog.at_level(logging.WARNING, 'mmlcr'):
        assert warmup.pending(KIND) is None
    words = {'code': 'exit code 3', 'no-python': 'no such file',
             'no-folder': 'set NUMBA_CACHE_DIR'}
    assert words[failure] in caplog.text
    caplog.clear()
    assert warmup.pending(KIND) is None and not caplog.text


def test_what_was_compiled_from_other_sources_is_removed(
        fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, '_run_kernels', lambda kind: None)
    tag = f'py{warmup.sys.version_info.major}{warmup.sys.version_info.minor}'
    old = [fresh / f'rows.add-1.{tag}.{end}' for end in ('nbi', '1.nbc')]
    other = fresh / 'rows.add-1.py20.nbi'
    for path in (*old, other):
        path.touch()
    warmup.compile_kernels(KIND)
    assert not any(path.exists() for path in old) and other.exists()
    old[0].touch()  # compiled from these sources, as the marker says
    warmup.compile_kernels('VRWKV6Layer')
    assert old[0].exists()
    assert len([*fresh.glob('*.compiled')]) == 2


@pytest.mark.long
def test_a_machine_that_never_ran_it(run_python: Callable, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Results come at once, and by the kernels when these are compiled."""
    monkeypatch.setenv('NUMBA_CACHE_DIR', str(tmp_path))
    done = run_python(
        f'{MODEL}'
        'from mmlcr.backends import select_backend\n'
        'start = time.monotonic()\n'
        'with torch.no_grad():\n'
        '    model(clip)\n'
        '    print(time.monotonic() - start)\n'
        '    while select_backend(model, clip)[0].name != "numba":\n'
        '        assert time.monotonic() < start + 110\n'
        '        time.sleep(0.1)\n'
        '    start = time.monotonic()\n'
        '    model(clip)\n'
        '    print(time.monotonic() - start)\n')
    assert done.returncode == 0, done.stderr
    assert 'compiles kernels for CrossRWKVLayer in the' in done.stderr
    first, loaded = map(float, done.stdout.split())
    assert first < 20 and loaded < 20  # by a machine of any speed
    assert [*tmp_path.glob(f'*/{KIND}-*.compiled')]


def test_a_folder_that_cannot_be_written(run_python: Callable) -> None:
    """Numba then finds no folder; that is no error."""
    done = run_python(
        f'{MODEL}'
        'from mmlcr.backends.numba import warmup\n'
        'warmup.cache_folder = lambda: None\n'
        'from mmlcr.backends import select_backend\n'
        'with torch.no_grad():\n'
        '    print(select_backend(model, clip)[0].name)\n')
    assert done.stdout.split() == ['numba'], done.stderr
    assert 'set NUMBA_CACHE_DIR' in done.stderr


def test_the_kernels_of_a_model_are_those_compiled_ahead(
        run_python: Callable) -> None:
    """Of clips in bytes and floats, whole or in part, and of streams."""
    for kind in warmup.KINDS:
        done = run_python(
            f'{MODEL}'
            'import numba.core.event as event\n'
            'from mmlcr.layers import Normalize\n'
            'compiled = []\n'
            'class Listener(event.Listener):\n'
            '    def on_start(self, event):\n'
            '        compiled.append(event.data["dispatcher"].py_func)\n'
            '    def on_end(self, event):\n'
            '        pass\n'
            'event.register("numba:compile", Listener())\n'
            'model = LCR(embed_dims=32, num_heads=2, num_layers=2, '
            f'patch_size=4, layer=dict(type="{kind}")).eval()\n'
            'model.normalize = Normalize.identity(4)\n'
            'with torch.no_grad():\n'
            '    for dtype in torch.uint8, torch.float32:\n'
            '        clip = torch.zeros(2, 4, 9, 16, 12, dtype=dtype)\n'
            '        model(clip)\n'
            '        _, state = model.forward_frames(clip[:, :, :1])\n'
            '        model.forward_frames(clip[:, :, 1:2].clone(), state)\n'
            '    mask = torch.zeros(2, 4, 3, dtype=torch.bool)\n'
            '    mask[:, 0, 0] = True\n'
            '    model(clip, mask)\n'
            'print(model.backend, [f.__name__ for f in compiled])\n')
        assert done.stdout.strip() == 'auto []', done.stdout + done.stderr


def test_each_process_starts_at_most_one(fresh: Path,
                                         monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    started = []
    monkeypatch.setattr(
        warmup.subprocess, 'Popen',
        lambda *args, **kwargs: started.append(kwargs) or Process())
    for _ in range(3):
        assert warmup.pending(KIND) == 'its kernels are being compiled'
        assert warmup.pending('VRWKV6Layer')
    assert len(started) == 2
    root = str(Path(warmup.mmlcr.__file__).parents[1])
    assert started[0]['env']['PYTHONPATH'].split(os.pathsep)[0] == root
