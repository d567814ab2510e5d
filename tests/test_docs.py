# Copyright (c) The mmlcr authors. All rights reserved.
"""README and pages: links, commands, names and messages are right."""
import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

import pytest
import torch
from pages import blocks

from mmlcr_cli import parse
from mmlcr_cli.main import TOOLS

ROOT = Path(__file__).resolve().parents[1]
TOOL = r'python tools/\w+\.py'
PAGES = (*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').glob('*.md')),
         ROOT / 'configs/recognition/lcr/README.md')


def commands_of(page: Path) -> List[str]:
    """The lines of its shell blocks that call a command, each as a whole."""
    lines = ''.join(blocks(page, 'shell')).replace('\\\n', ' ').split('\n')
    return [line.strip() for line in lines
            if re.search(rf'{TOOL}|^\s*(\S+/)?mmlcr |=\S+ mmlcr ', line)]


def words_of(command: str) -> Tuple[str, List[str]]:
    """The name of the command, and its arguments; X is for `$(...)`."""
    filled = re.sub(r'\$\([^)]*\)', 'X', command)
    words = shlex.split(filled, comments=True)
    index = next(i for i, word in enumerate(words)
                 if re.fullmatch(r'tools/\w+\.py|(\S+/)?mmlcr', word))
    if words[index].endswith('mmlcr'):
        return words[index + 1], words[index + 2:]
    tool = Path(words[index]).stem
    names = {tool: name for name, tool in TOOLS.items()}
    return names.get(tool, tool.replace('_', '-')), words[index + 1:]


COMMANDS = [
    pytest.param(
        *words_of(command),
        id=f'{page.relative_to(ROOT)}: {" ".join(command.split())}')
    for page in PAGES for command in commands_of(page)
]


def test_commands_of_each_page_are_found() -> None:
    """Folded ones, and those of a list's items, too."""
    found = {(name, *arguments[:1]) for name, arguments in (
        command.values for command in COMMANDS)}
    assert {('motion', '--clips'), ('prepare', 'clips'),
            ('prepare-public', 'k400'), ('train', 'configs/lcr_motion.py'),
            ('check-resume', 'configs/lcr_motion.py')} <= found


@pytest.mark.parametrize('name, arguments', COMMANDS)
def test_the_command_takes_its_arguments(name: str,
                                         arguments: List[str]) -> None:
    try:
        parse(name, arguments)
    except SystemExit:
        pytest.fail(f'{name} does not take {shlex.join(arguments)}')
    for config in arguments:
        if re.fullmatch(r'configs/\S+\.py', config):
            assert (ROOT / config).is_file(), config


def test_the_readme_is_two_screens() -> None:
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        path = target.partition('#')[0]
        if path and '://' not in path:
            assert (page.parent / path).exists(), target


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / 'docs/index.md').read_text()
    for page in (ROOT / 'docs').glob('*.md'):
        assert page.stem == 'index' or f'\n{page.stem}\n' in contents, page


@pytest.mark.slow
def test_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """Links between pages and to headings, and all docstrings, are read."""
    pytest.importorskip('sphinx')
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b',
         'html', ROOT / 'docs', tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / 'generated/mmlcr.models.LCR.html').read_text()
    assert 'forward_step' in reference
    fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?:',
                         (tmp_path / 'index.html').read_text())
    assert not fetched


def texts_of_the_code() -> str:
    """All strings of the package, with ``\0`` for what is filled in."""
    found = []
    for path in (*ROOT.glob('mmlcr/**/*.py'), *ROOT.glob('mmlcr_cli/**/*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(''.join(
                    str(part.value) if isinstance(part, ast.Constant)
                    else '\0' for part in node.values))
            elif isinstance(node, ast.Constant):
                found.append(str(node.value))
    return '\n'.join(found)


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    ours = page.partition('\n## Install\n')[2]
    cells = re.findall(r'^\| (`.*?`) \| ', ours, re.M)
    messages = [message for cell in cells
                for message in re.findall(r'`(.*?)`', cell)]
    assert len(messages) > 40
    code = texts_of_the_code()
    for message in messages:
        pattern = r'[^\n]*?'.join(map(re.escape, message.split('...')))
        assert re.search(pattern, code), message


def test_the_architecture_page_names_what_exists() -> None:
    page = (ROOT / 'docs/architecture.md').read_text()
    paths = re.findall(r'`(mmlcr/[\w/.]+\.py)`', page)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).is_file(), path
    for number in range(1, 12):
        assert f'| ({number}) ' in page


def test_layers_are_called_as_the_page_says() -> None:
    code = blocks(ROOT / 'docs/backends.md', 'python')
    names: dict = {}
    torch.manual_seed(0)
    exec(code[0], names)
    with torch.no_grad():
        expected = names['model'](names['clip'])
    assert torch.allclose(names['feature'], expected, atol=1e-5)


def test_a_backend_joins_as_the_page_says() -> None:
    from mmlcr.backends import backend_names, unregister_backend
    exec(blocks(ROOT / 'docs/backends.md', 'python')[-1], {})
    assert backend_names()[0] == 'fast'
    unregister_backend('fast')


def test_changelog_and_citation_have_the_version() -> None:
    import yaml

    import mmlcr
    version = mmlcr.__version__
    changes = (ROOT / 'CHANGELOG.md').read_text()
    assert re.search(r'^## (\S+)', changes, re.M)[1] == version  # type: ignore
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == version
    assert citation['license'] == 'Apache-2.0'


def test_paths_that_contributors_are_sent_to_exist() -> None:
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    paths = re.findall(r'`((?:tests|configs|docs)/[\w/.]*\w)`', text)
    assert len(paths) >= 4
    for path in paths:
        assert (ROOT / path).exists(), path
