# Copyright (c) The mmlcr authors. All rights reserved.
"""Untrusted files are refused with an error, wherever they are read."""
import functools
import http.server
import os
import pickle
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint
from processes import run_script

from mmaction.apis import init_recognizer
from mmlcr.engine import (
    BrokenFileError,
    UnreadableFileError,
    UntrustedFileError,
    guard_loading,
    read_checkpoint,
    read_dump,
    unguard_loading,
)
from mmlcr.streaming import StreamRecognizer

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/lcr_motion.py')


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Dictionary(dict):
    """A subclass of what may be in a checkpoint."""

    def __setitem__(self, key: Any, value: Any) -> None:
        os.system(value)


def attacks(command: str) -> dict:
    """Attacks by the name that the error must have."""
    code = f'import os; os.system({command!r})'
    imported = Call(__import__, 'os')
    with_items = Dictionary()
    dict.__setitem__(with_items, 'a', command)
    return {
        'system': Call(os.system, command),
        'popen': Call(os.popen, command),
        'eval': Call(eval, f'__import__("os").system({command!r})'),
        'exec': Call(exec, code),
        'import': Call(getattr, imported, 'system'),
        'call': Call(subprocess.call, command.split()),
        'partial': Call(functools.partial(os.system, command)),
        'map': Call(list, Call(map, os.system, [command])),
        'compile': Call(exec, Call(compile, code, 'a', 'exec')),
        'load': Call(torch.load, command),
        'loads': Call(pickle.loads, pickle.dumps(Call(os.system, command))),
        'Dictionary': with_items,
        'Call': Call(Call, 1),
        'nested': Call(dict, [('a', [(Call(os.system, command), )])]),
        'object': np.array([Call(os.system, command)], dtype=object),
        '_load_from_bytes': Call(
            torch.storage._load_from_bytes,
            pickle.dumps(Call(os.system, command))),
    }


NAMES = list(attacks(''))


@pytest.fixture(params=NAMES)
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An attack, and a check that nothing of it was run."""
    marker = tmp_path / 'marker'
    yield attacks(f'touch {marker}')[request.param]
    assert not marker.exists()


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint with weights, and more."""
    path, marker = tmp_path / 'evil.pth', tmp_path / 'marker'
    model = init_recognizer(Config.fromfile(CONFIG), device='cpu')
    torch.save(
        dict(state_dict=model.state_dict(),
             meta=dict(epoch=1, iter=1,
                       author=Call(os.system, f'touch {marker}'))), path)
    yield path
    assert not marker.exists()


def test_checkpoints(attack: Any, tmp_path: Path) -> None:
    path = tmp_path / 'checkpoint.pth'
    for legacy in (False, True):
        torch.save(dict(meta=attack), path,
                   _use_new_zipfile_serialization=not legacy)
        for read in (read_checkpoint, _load_checkpoint):
            with pytest.raises(UntrustedFileError,
                               match='checkpoint.pth is refused'):
                read(str(path))


def test_predictions(attack: Any, tmp_path: Path) -> None:
    path = tmp_path / 'dump.pkl'
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        path.write_bytes(pickle.dumps([dict(pred_score=attack)], protocol))
        with pytest.raises(UnreadableFileError, match='dump.pkl .* was run'):
            read_dump(str(path))


def test_predictions_are_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / 'dump.pkl'
    dumped = [dict(pred_score=torch.rand(3), gt_label=torch.tensor([1]),
                   size=(3, 4), array=np.arange(3), name='a', none=None)]
    for protocol in (2, 4):  # MMEngine's, and Python's
        path.write_bytes(pickle.dumps(dumped, protocol))
        (found, ), (expected, ) = read_dump(str(path)), dumped
        for key, value in expected.items():
            if key == 'array':
                assert np.array_equal(found[key], value)
            elif isinstance(value, torch.Tensor):
                assert torch.equal(found[key], value)
            else:
                assert found[key] == value


@pytest.mark.parametrize('load', [
    lambda path: init_recognizer(Config.fromfile(CONFIG), path, 'cpu'),
    lambda path: StreamRecognizer(CONFIG, path),
    lambda path: load_checkpoint(torch.nn.Linear(1, 1), path),
], ids=['init_recognizer', 'StreamRecognizer', 'load_checkpoint'])
def test_every_way_in(load: Callable, evil: Path) -> None:
    with pytest.raises(UntrustedFileError, match='evil.pth .* it: .*system'):
        load(str(evil))


@pytest.mark.parametrize('tool, arguments', [
    ('test.py', ['EVIL']),
    ('train.py', ['--resume', 'EVIL']),
    ('train.py', ['--cfg-options', 'load_from=EVIL']),
    ('export_onnx.py', ['EVIL', 'step.onnx']),
    ('visualize.py', ['EVIL', 'VIDEO', '--out', 'demo.png']),
    ('stream.py', ['GOOD', 'VIDEO', '--load-state', 'EVIL']),
], ids=['test', 'resume', 'load_from', 'export', 'visualize', 'stream'])
def test_every_tool(tool: str, arguments: list, evil: Path, tmp_path: Path,
                    make_video: Callable) -> None:
    for split in ('train', 'val', 'test'):
        make_video(f'videos/{split}.mp4', num_frames=20)
        (tmp_path / f'{split}.txt').write_text(f'{split}.mp4 0\n' * 2)
    good = tmp_path / 'good.pth'
    state = torch.load(evil, weights_only=False)['state_dict']
    (tmp_path / 'marker').unlink()  # that ran it
    torch.save(dict(state_dict=state, meta={}), good)
    (tmp_path / 'classes.txt').write_text('\n'.join('abcdefghijkl'))
    words = dict(EVIL=str(evil), GOOD=str(good),
                 VIDEO=str(tmp_path / 'videos/test.mp4'))
    for word, path in words.items():
        arguments = [a.replace(word, path) for a in arguments]
    result = run_script(ROOT / 'tools' / tool, CONFIG, *arguments,
                        '--data-root', tmp_path, cwd=tmp_path)
    assert result.returncode, result.stdout[-2000:]
    output = result.stdout + result.stderr
    assert 'evil.pth is refused' in output and 'system' in output


def test_from_the_web(evil: Path, tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.hub alone would run it."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_address[1]}/evil.pth'
        with pytest.raises(UntrustedFileError, match='evil.pth is refused'):
            _load_checkpoint(address)
        server.shutdown()


@pytest.mark.parametrize('data', [
    b'', b'no checkpoint', b'PK\x03\x04', b'\x80\x02}q\x00', b'left\nright'
], ids=['empty', 'text', 'zip', 'pickle', 'lines'])
def test_broken_files_are_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'broken.pth'
    path.write_bytes(data)
    with pytest.raises(BrokenFileError, match='broken.pth can not be'):
        read_checkpoint(str(path))
    with pytest.raises(UnreadableFileError, match='broken.pth .* was run'):
        read_dump(str(path))
    with pytest.raises(FileNotFoundError, match='no checkpoint .*none.pth'):
        read_checkpoint(str(tmp_path / 'none.pth'))


# ---- MMEngine's own loaders

LOADERS = """
import mmengine.runner.checkpoint as m
own = m.load_from_local, m.load_from_http
import mmlcr
schemes = m.CheckpointLoader._schemes
now = {(schemes[''], schemes['http://']), (schemes[''], schemes['https://']),
       (m.load_from_local, m.load_from_http)}
print(len(now), own in now, len(m._load_checkpoint('mmlcr://lcr_motion')))
"""


@pytest.mark.parametrize('value, is_mmengines', [
    ('0', True), ('1', False), ('', False), (None, False)])
def test_the_environment_leaves_mmengine_s_loaders(
        value: Any, is_mmengines: bool, run_python: Callable,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the package loads either way."""
    if value is None:
        monkeypatch.delenv('MMLCR_GUARD_LOADING', raising=False)
    else:
        monkeypatch.setenv('MMLCR_GUARD_LOADING', value)
    run = run_python(LOADERS)
    assert run.returncode == 0, run.stderr[-2000:]
    printed = run.stdout.splitlines()[-1]
    assert printed == f'1 {is_mmengines} 2'


def test_the_guard_is_taken_off_and_put_back(
        evil: Path) -> None:
    guarded = CheckpointLoader._get_checkpoint_loader(str(evil))
    unguard_loading()
    try:
        own = CheckpointLoader._get_checkpoint_loader(str(evil))
        assert own.__module__.startswith('mmengine.')
        assert own is mmengine_checkpoint.load_from_local
        with pytest.raises(UntrustedFileError):
            read_checkpoint(str(evil))
    finally:
        guard_loading()
    assert CheckpointLoader._get_checkpoint_loader(str(evil)) is guarded
    with pytest.raises(UntrustedFileError):
        _load_checkpoint(str(evil))
