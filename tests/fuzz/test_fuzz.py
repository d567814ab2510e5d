# Copyright (c) The mmlcr authors. All rights reserved.
"""Bad inputs by the hundreds, and that what should be found is."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict

import fuzz
import kinds
import pytest

from mmlcr.datasets import map_isolated
from mmlcr.video import SourceError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != 'linux', reason='processes by fork')
]
HERE = Path(__file__).parent


def test_bad_inputs_are_results_or_named_errors(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, HERE / 'fuzz.py', '--inputs', '50', '--seed', '7'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r'│ ([a-zA-Z, ]+?) +│ (\d+) +│ (\d+) +│ (\d+)',
                      run.stdout)
    assert [row[0] for row in rows] == [*kinds.KINDS, 'all']
    assert [row[1] for row in rows[:-1]] == ['50'] * len(kinds.KINDS)
    # neither is every input good, nor is every one refused at once
    assert all(int(results) and int(errors) for _, _, results, errors in rows)


@pytest.mark.parametrize('kind', kinds.KINDS)
def test_inputs_are_functions_of_their_numbers(kind: str,
                                               tmp_path: Path) -> None:
    written = []
    for name in ('once', 'again', 'other'):
        number = 12 if name == 'other' else 11
        kinds.videos.cache_clear()  # those that encoders draw anew
        folder = tmp_path / name
        rng = fuzz.Input(kind, number, seed=3).write(folder)
        files = {
            path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()
        }
        written.append((files, rng.random()))
    once, again, other = written
    assert once == again and once[0] != other[0]


def replaced(monkeypatch: pytest.MonkeyPatch, read: Callable) -> None:
    """Another reader of videos."""
    kind = kinds.KINDS['video source']._replace(read=read)
    monkeypatch.setitem(kinds.KINDS, 'video source', kind)


def crash(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(folder: Path) -> None:
    time.sleep(60)


def foreign(folder: Path) -> None:
    raise KeyError(str(folder / 'clip.mp4'))


def unnamed(folder: Path) -> None:
    raise SourceError('there is something wrong')


def not_raised_here(folder: Path) -> None:
    raise ValueError(f'{folder}/clip.mp4: not by this package')


def of_several_lines(folder: Path) -> None:
    raise SourceError(f'{folder}/clip.mp4:\nfirst\nsecond')


def grow(folder: Path) -> None:
    bytearray(2 * fuzz.MEMORY)


def named(folder: Path) -> None:
    raise SourceError(f'{folder}/clip.mp4: there is something wrong')


@pytest.mark.parametrize('read, verdict', [
    (crash, 'crash, named'),
    (hang, 'hang'),
    (foreign, 'finding'),
    (unnamed, 'finding'),
    (not_raised_here, 'finding'),
    (of_several_lines, 'finding'),
    (grow, 'finding'),
    (named, 'our error'),
    (lambda folder: None, 'result'),
], ids=['crash', 'hang', 'foreign', 'unnamed', 'not-here', 'lines', 'memory',
        'named', 'result'])
def test_what_a_reader_does_wrong_is_found(
        read: Callable, verdict: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """At the third of five inputs; all others are good."""

    def reader(rng: Any, folder: Path) -> None:
        if folder.name == '2':
            read(folder)

    replaced(monkeypatch, reader)
    inputs = [fuzz.Input('video source', number, 0) for number in range(5)]
    counts = fuzz.fuzz(inputs, jobs=2, seconds=3, kept=tmp_path)
    expected: Dict[str, int] = {'result': 4}
    expected[verdict] = expected.get(verdict, 0) + 1
    assert counts == {'video source': expected}
    kept = [path.name for path in tmp_path.iterdir()]
    bad = verdict not in ('result', 'our error')
    assert kept == ['video-source-2'] * bad
    if bad:
        folder = tmp_path / 'video-source-2'
        assert verdict in (folder / 'verdict.txt').read_text()
        assert (folder / 'clip.mp4').exists()


def test_findings_are_the_exit_code(monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture) -> None:
    arguments = ['fuzz.py', '--inputs', '2', '--kinds', 'video source']
    monkeypatch.setattr(sys, 'argv', arguments)
    for read, code in ((named, 0), (crash, 0), (foreign, 1)):
        replaced(monkeypatch, lambda rng, folder, read=read: read(folder))
        assert fuzz.main() == code
    monkeypatch.setattr(sys, 'argv', [*arguments, '--seconds', '1'])
    replaced(monkeypatch, lambda rng, folder: hang(folder))
    assert fuzz.main() == 1
    assert 'video source' in capsys.readouterr().out


def test_children_of_a_process_that_was_killed_end(tmp_path: Path) -> None:
    """They see that nobody has numbers for them any more."""
    script = tmp_path / 'parent.py'
    script.write_text(
        'import os, signal, mmlcr\n'
        'from mmlcr.datasets import map_isolated\n'
        'def work(number):\n'
        '    return os.getpid()\n'
        'results = map_isolated(work, 9, jobs=3, seconds=100)\n'
        'found = {next(results).value for _ in range(6)}\n'
        'print(*found, flush=True)\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n')
    output = subprocess.run([sys.executable, script], capture_output=True,
                          text=True).stdout
    processes = [int(process) for process in output.split()]
    assert processes
    deadline = time.monotonic() + 30
    for process in processes:
        while Path(f'/proc/{process}').exists():
            state = Path(f'/proc/{process}/stat').read_text().split()[2]
            if state == 'Z':  # nobody is there to hear of it
                break
            assert time.monotonic() < deadline, 'a child is left'
            time.sleep(0.1)


def test_children_that_nobody_waits_for_are_ended() -> None:

    def work(number: int) -> int:
        if number:
            time.sleep(60)
        return os.getpid()

    results = map_isolated(work, 3, jobs=2, seconds=100)
    process = next(results).value
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
