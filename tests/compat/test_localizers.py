# Copyright (c) The mmlcr authors. All rights reserved.
"""The stand-in for the module that the wheel of MMAction2 lacks."""
import importlib
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from mmlcr.compat import localizers

DRN = 'mmaction.models.localizers.drn'


def test_fresh_interpreter_registers_all_modules(
        run_python: Callable) -> None:
    run = run_python(
        'import mmlcr\n'
        'from mmaction.utils import register_all_modules\n'
        'register_all_modules()\n'
        'from mmaction.registry import DATASETS, MODELS, TRANSFORMS\n'
        'for registry, names in (\n'
        '        (MODELS, "LCR LCRHead LCRRecognizer Recognizer3D BMN"),\n'
        '        (TRANSFORMS, "EdgeMap TubeMask"),\n'
        '        (DATASETS, "ValidatedVideoDataset "\n'
        '         "ValidatedRawframeDataset")):\n'
        '    assert all(map(registry.get, names.split())), names\n'
        'import sys\n'
        'sys.stderr.write("registered")\n')
    assert run.stderr.endswith('registered'), run.stderr
    assert run.returncode == 0 and run.stdout == ''


def test_stand_in_explains_itself() -> None:
    from mmaction.models import localizers as repaired
    if not isinstance(sys.modules[DRN].__spec__.loader, type(None)):
        pytest.skip('this mmaction2 has its DRN localizer')
    with pytest.raises(ImportError, match='wheel lacks the DRN localizer'):
        repaired.DRN(vocab_size=10)


def fake_mmaction(root: Path, drn: str) -> None:
    """A fake package mmaction with or without the DRN localizer."""
    folder = root / 'mmaction' / 'models' / 'localizers'
    folder.mkdir(parents=True)
    for package in (folder, *list(folder.parents)[:2]):
        (package / '__init__.py').touch()
    if drn in ('package', 'folder'):
        (folder / 'drn').mkdir()
        (folder / 'drn' / 'drn.py').write_text('class DRN:\n    pass\n')
    if drn == 'package':
        (folder / 'drn' / '__init__.py').touch()


@pytest.fixture
def unimported(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that mmaction has not been imported yet."""
    for name in list(sys.modules):
        if name == 'mmaction' or name.startswith('mmaction.'):
            monkeypatch.delitem(sys.modules, name)
    before = dict(sys.modules)
    yield monkeypatch
    for name in set(sys.modules) - set(before):
        if name.split('.')[0] == 'mmaction':
            del sys.modules[name]


# the repository has a folder without __init__.py
@pytest.mark.parametrize('drn', ['package', 'folder'])
def test_healthy_stack_is_left_alone(drn: str, tmp_path: Path,
                                     unimported: Any) -> None:
    fake_mmaction(tmp_path, drn)
    unimported.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    assert localizers.repair_localizers() is False
    assert dict(sys.modules) == before
    module = importlib.import_module(f'{DRN}.drn')
    assert module.__file__ == str(
        tmp_path.joinpath(*DRN.split('.'), 'drn.py'))


def test_broken_stack_is_repaired(tmp_path: Path, unimported: Any) -> None:
    fake_mmaction(tmp_path, 'missing')
    unimported.syspath_prepend(str(tmp_path))
    assert localizers.repair_localizers() is True
    assert 'mmaction.models' not in sys.modules  # found without importing
    module = importlib.import_module(f'{DRN}.drn')
    with pytest.raises(ImportError, match='install mmaction2 from'):
        module.DRN()
    assert importlib.import_module('mmaction.models.localizers')
    assert localizers.repair_localizers() is False  # nothing left to do


def test_stack_that_is_in_use_is_left_alone() -> None:
    before = dict(sys.modules)
    assert localizers.repair_localizers() is False
    assert dict(sys.modules) == before


def test_a_missing_mmaction_is_left_to_its_import(
        monkeypatch: pytest.MonkeyPatch, unimported: Any) -> None:
    monkeypatch.setattr(localizers.importlib.util, 'find_spec',
                        lambda name: None)
    assert localizers.repair_localizers() is False
    assert DRN not in sys.modules
