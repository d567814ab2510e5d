# Copyright (c) The mmlcr authors. All rights reserved.
"""Imports point one way, and none hides from that."""
import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'mmlcr'
# each may import those before it
ORDER = ('ops', 'layers', 'backends', 'models', 'visualization', 'deploy',
         'streaming', 'cli')
# what is general to MMEngine and MMAction2, and knows nothing of LCR
GENERAL = ('compat', 'datasets', 'engine', 'people', 'transforms', 'video')
COMMAND = PACKAGE.with_name('mmlcr_cli')  # names, arguments and help
LONGEST = 400  # lines of a file


def files(folder: Path = PACKAGE) -> List[Path]:
    return sorted(folder.rglob('*.py'))


def name_of(path: Path) -> Tuple[str, ...]:
    """``('layers', 'cell')`` of ``mmlcr/layers/cell.py``."""
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return parts[:-1] if parts[-1] == '__init__' else parts


def imports(path: Path) -> Iterator[Tuple[str, ...]]:
    """The modules of the package that a file imports, anywhere in it."""
    package = name_of(path)
    if path.stem != '__init__':
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] == 'mmlcr':
                    yield tuple(alias.name.split('.')[1:])
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split('.')) if node.module else ()
            if node.level:
                base = package[:len(package) - node.level + 1] + module
            elif module[:1] == ('mmlcr', ):
                base = module[1:]
            else:
                continue
            if node.level and not module or not base:
                for alias in node.names:
                    yield (*base, alias.name)
            else:
                yield base


def graph() -> Dict[str, Set[str]]:
    """Packages of the package, and those that they import."""
    found: Dict[str, Set[str]] = {}
    for path in files():
        own = name_of(path)
        if not own:
            continue
        found.setdefault(own[0], set()).update(
            other[0] for other in imports(path)
            if other and other[0] != own[0])
    return found


def test_layers_import_what_is_below_them() -> None:
    found = graph()
    for rank, name in enumerate(ORDER):
        above = found[name] - set(ORDER[:rank]) - set(GENERAL)
        assert not above, f'{name} imports {above}'


def test_what_is_general_knows_nothing_of_lcr() -> None:
    found = graph()
    for name in GENERAL:
        assert not found[name] - {*GENERAL, 'stack', 'version'}, name


def test_only_what_commands_do_knows_of_their_arguments() -> None:
    """The command line imports none of the package, whose import is slow."""
    for path in files(COMMAND):
        assert not re.search(r'^ *(from|import) mmlcr\b', path.read_text(),
                             re.MULTILINE), path
    for path in files():
        if name_of(path)[:1] != ('cli', ):
            assert 'mmlcr_cli' not in path.read_text(), path


def test_there_is_no_circle() -> None:
    found = {name: {*others} for name, others in graph().items()}
    while found:
        free = [name for name, others in found.items()
                if not others & found.keys()]
        assert free, f'a circle among {sorted(found)}'
        for name in free:
            del found[name]


@pytest.mark.parametrize('path', [*files(), *files(COMMAND)],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            for line in node.body:
                assert not (isinstance(line, ast.ImportFrom) and (
                    line.level or str(line.module).startswith('mmlcr'))), (
                        'an import of the package that hides')
