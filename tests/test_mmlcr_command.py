# Copyright (c) The mmlcr authors. All rights reserved.
"""The command ``mmlcr``: what it lists, and what it does not import."""
import configparser
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmlcr.version import __version__
from mmlcr_cli import COMMANDS, main
from mmlcr_cli.main import TOOLS, load, module_name, shell_command

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / 'tools').glob('*.py'))
TOOL_LINES = 10  # header, docstring, import and call
HELP_OF_ALL = """
import json, sys
from mmlcr_cli import COMMANDS, main
for arguments in (['--help'], ['configs'], *([c, '--help'] for c in COMMANDS)):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
known = {*sys.stdlib_module_names, 'mmlcr_cli', 'yaml', '_yaml'}
print(json.dumps(sorted(
    name for name, module in sys.modules.items()
    if name.partition('.')[0] not in known
    and getattr(module, '__file__', None) and before.isdisjoint({name}))))
"""


def run(*words: str, **options: Any) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, **options)


def outcome(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code or 0


def test_help_lists_every_command_with_a_line(
        capsys: pytest.CaptureFixture) -> None:
    for arguments in (('--help', ), ()):
        assert outcome(*arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, summary in COMMANDS.items():
            found = [line for line in lines if line.startswith(f'  {name} ')]
            assert len(found) == 1 and found[0].endswith(summary)
        assert max(map(len, lines)) < 80


def test_help_imports_nothing_but_the_standard_library() -> None:
    """Neither PyTorch, nor NumPy, nor the package that registers itself."""
    code = 'import sys\nbefore = {*sys.modules}\n' + HELP_OF_ALL
    found = run('-c', code, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == []


def test_a_mistyped_command_gets_a_hint(
        capsys: pytest.CaptureFixture) -> None:
    assert outcome('trian') == 2
    assert "'trian', did you mean train?" in capsys.readouterr().err
    assert outcome('xyz') == 2
    assert "there is no command 'xyz'\n" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(
        capsys: pytest.CaptureFixture) -> None:
    assert outcome('--version') == 0
    assert capsys.readouterr().out == f'mmlcr {__version__}\n'


def test_the_installed_command_is_this_one() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    scripts = setup['options.entry_points']['console_scripts']
    assert scripts.split() == ['mmlcr', '=', 'mmlcr_cli:main']
    found = run('-m', 'mmlcr_cli', '--version', cwd=ROOT)
    assert found.stdout == f'mmlcr {__version__}\n'


@pytest.mark.parametrize('name', COMMANDS)
def test_each_command_is_complete(name: str) -> None:
    """Arguments with a description and help texts, and what it does."""
    import argparse
    command = load(name)
    assert command.DESCRIPTION.endswith('.')
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for action in parser._actions:
        hidden = action.option_strings == ['--local_rank', '--local-rank']
        choice = isinstance(action, argparse._SubParsersAction)
        assert action.help or hidden or choice or action.choices, action
    if name == 'page':
        pytest.importorskip('gradio')
    where = command if hasattr(command, 'main') else importlib.import_module(
        f'mmlcr.cli.{module_name(name)}')
    assert callable(where.main)


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_a_tool_is_a_command_and_nothing_else(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= TOOL_LINES
    name = re.search(r"^    run\('([\w-]+)'\)$", text, re.MULTILINE)
    assert name is not None
    assert TOOLS.get(name[1], module_name(name[1])) == path.stem


def test_there_is_a_tool_for_each_command_that_trains_or_infers() -> None:
    stems = {path.stem for path in SCRIPTS}
    for name in {*COMMANDS} - {'configs', 'people'}:
        assert TOOLS.get(name, module_name(name)) in stems


def test_other_commands_are_named_as_this_one_was_called(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/mmlcr', 'prepare'])
    assert shell_command('scan') == 'mmlcr scan'
    monkeypatch.setattr(sys, 'argv', ['tools/prepare_dataset.py'])
    monkeypatch.chdir(ROOT)
    assert shell_command('scan') == 'python tools/scan_clips.py'
    monkeypatch.setattr(sys, 'argv', ['other/prepare_dataset.py'])
    assert shell_command('train') == 'mmlcr train'


@pytest.mark.skipif(sys.platform == 'win32', reason='a POSIX shell')
def test_a_reader_may_close_its_end() -> None:
    """Without a traceback, as of `mmlcr configs | head -n 1`."""
    found = subprocess.run(
        ['bash', '-c', f'set -o pipefail; {sys.executable} -u -m mmlcr_cli '
         'configs | head -n 1; echo ${PIPESTATUS[0]}'],
        capture_output=True, text=True, cwd=ROOT)
    lines = found.stdout.splitlines()
    assert lines[0].startswith('configs') and lines[1] == '141'
    assert not found.stderr


def test_configs_are_listed(capsys: pytest.CaptureFixture) -> None:
    """With what each is for; --paths names the files."""
    assert outcome('configs') == 0
    shown = capsys.readouterr().out
    for path in (ROOT / 'configs').glob('*.py'):
        comment = path.read_text().splitlines()[0]
        assert comment.startswith('# '), path
        assert re.search(
            rf'configs/{path.name} +{re.escape(comment[2:])}\n', shown)
    for path in (ROOT / 'mmlcr/zoo').glob('*.safetensors'):
        assert re.search(rf'mmlcr://{path.stem} +\d.* MB, configs/', shown)
    assert outcome('configs', '--paths') == 0
    paths = re.findall(r'^  (\S+)', capsys.readouterr().out, re.MULTILINE)
    assert len(paths) > 10 and all(Path(path).is_file() for path in paths)
