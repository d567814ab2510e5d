# Copyright (c) The mmlcr authors. All rights reserved.
"""Commands of README and guides: the tools take their arguments."""
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import List, Tuple

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
         ROOT / 'configs/recognition/lcr/README.md')


def commands_of(page: Path) -> List[str]:
    """The lines of its shell blocks that call a tool, each as a whole."""
    blocks = re.findall(r'```shell\n(.*?)```', page.read_text(), re.DOTALL)
    lines = ''.join(blocks).replace('\\\n', ' ').split('\n')
    return [line.strip() for line in lines
            if re.search(r'python tools/\w+\.py', line)]


def python_of(page: Path) -> List[str]:
    """Its Python blocks."""
    return re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)


def words_of(command: str) -> Tuple[str, List[str]]:
    """The name of the tool, and its arguments; what a shell fills in is X."""
    filled = re.sub(r'\$\([^)]*\)', 'X', command)
    words = shlex.split(filled, comments=True)
    place = next(i for i, word in enumerate(words)
                 if re.fullmatch(r'tools/\w+\.py', word))
    return Path(words[place]).stem, words[place + 1:]


COMMANDS = [
    pytest.param(
        *words_of(command),
        id=f'{page.relative_to(ROOT)}: {" ".join(command.split())}')
    for page in PAGES for command in commands_of(page)
]


def test_commands_of_each_page_are_found() -> None:
    """Folded ones, and those of a list's items, too."""
    found = {(tool, *arguments[:1]) for tool, arguments in (
        command.values for command in COMMANDS)}
    assert {('make_motion', '--clips'), ('prepare_dataset', 'clips'),
            ('prepare_public', 'k400'), ('train', 'configs/lcr_motion.py'),
            ('check_resume', 'configs/lcr_motion.py')} <= found


@pytest.mark.parametrize('tool, arguments', COMMANDS)
def test_the_tool_takes_its_arguments(tool: str, arguments: List[str],
                                      monkeypatch: pytest.MonkeyPatch
                                      ) -> None:
    path = ROOT / f'tools/{tool}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{tool}', path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, 'argv', [str(path), *arguments])
    spec.loader.exec_module(module)
    try:
        module.parse_args()
    except SystemExit:
        pytest.fail(f'{tool}.py does not take {shlex.join(arguments)}')
    for config in arguments:
        if re.fullmatch(r'configs/\S+\.py', config):
            assert (ROOT / config).is_file(), config


def test_layers_are_called_as_the_page_says() -> None:
    blocks = python_of(ROOT / 'docs/backends.md')
    names: dict = {}
    torch.manual_seed(0)
    exec(blocks[0], names)
    with torch.no_grad():
        expected = names['model'](names['clip'])
    assert torch.allclose(names['feature'], expected, atol=1e-5)


def test_a_backend_joins_as_the_page_says() -> None:
    from mmlcr.backends import backend_names, unregister_backend
    exec(python_of(ROOT / 'docs/backends.md')[-1], {})
    assert backend_names()[0] == 'fast'
    unregister_backend('fast')
