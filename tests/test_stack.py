# Copyright (c) The mmlcr authors. All rights reserved.
"""Errors where the stack does not fit, and that its bounds agree."""
import configparser
import importlib
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Callable, Dict

import pytest

from mmlcr import stack

ROOT = Path(__file__).resolve().parents[1]


def listed(text: str, bound: str) -> Dict[str, str]:
    """The version behind ``bound`` in each line of requirements."""
    return dict(
        re.findall(rf'^([\w-]+)[^#;\n]*?{bound}([\w.]+)', text, re.MULTILINE))


@pytest.fixture(scope='module')
def declared() -> str:
    """What setup.cfg asks for, to run: a requirement a line."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    extras = parser['options.extras_require']
    return '\n'.join([
        parser['options']['install_requires'], extras['lite'], extras['fast']
    ])


def test_the_oldest_that_are_declared_are_those_tested(declared: str) -> None:
    oldest = listed(declared, '>=')
    assert {'mmengine', 'mmcv-lite', 'numpy', 'numba'} <= set(oldest)
    tested = listed((ROOT / 'requirements/oldest.txt').read_text(), '==')
    assert oldest == {name: tested[name] for name in oldest}


@pytest.mark.parametrize('needed', stack.NEEDED, ids=lambda n: n.module)
def test_import_takes_what_setup_declares(needed: stack.Needed,
                                          declared: str) -> None:
    assert listed(declared, '<')[needed.package] == needed.below
    oldest = listed(declared, '>=')[needed.package]
    assert stack._numbers(needed.oldest) <= stack._numbers(oldest)


@pytest.mark.parametrize('needed', stack.NEEDED, ids=lambda n: n.module)
def test_a_missing_package_is_explained(needed: stack.Needed,
                                        run_python: Callable) -> None:
    """With no other error before it, nor after it."""
    run = run_python(
        'import sys\n'
        'sys.modules[sys.argv[1]] = None\n'
        'import mmlcr\n', needed.module)
    output = run.stderr.splitlines()[-1]
    assert output.startswith(f'ImportError: mmlcr needs {needed.module} >=')
    assert f'found none: run "pip install \'{needed.package}>=' in output
    assert ('never install both' in output) == (needed.module == 'mmcv')
    assert 'During handling' not in run.stderr


def test_a_folder_without_a_package_is_none(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip leaves it where files of others were in it."""
    (tmp_path / 'left_over').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert stack._version('left_over') == ''


@pytest.mark.parametrize('module, version', [
    ('mmcv', '1.7.2'),
    ('mmcv', '2.2.0'),
    ('mmengine', '0.7.0'),
    ('mmengine', '1.0.0'),
    ('mmaction', '0.24.1'),
])
def test_a_version_out_of_range_is_explained(
        module: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.import_module(module), '__version__', version)
    with pytest.raises(
            ImportError,
            match=f'needs {module} .* found {version}: run "pip install'):
        stack.require_stack()


@pytest.mark.parametrize('version', ['2.0.0rc4', '2.0.0', '2.1.0', '2.1.9'])
def test_versions_in_range_are_taken(version: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.import_module('mmcv'), '__version__', version)
    stack.require_stack()


@pytest.mark.parametrize('versions, command', [
    ({'opencv-python': '5.1.0.1', 'opencv-contrib-python': '5.0.0.9'},
     'opencv-python==5.1.0.1 opencv-contrib-python==5.1.0.1'),
    ({'opencv-python': '4.9.0', 'opencv-python-headless': '4.10.0'},
     'opencv-python==4.10.0 opencv-python-headless==4.10.0'),
    ({'opencv-python': '5.1', 'opencv-contrib-python': '5.1'}, ''),
    ({'opencv-contrib-python': '5.1'}, ''),
    ({}, ''),
], ids=str)
def test_opencv_of_two_versions_warns(versions: dict, command: str,
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise stack.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(stack.metadata, 'version', version)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        stack.check_opencv()
    assert len(caught) == bool(command)
    if command:
        assert f'pip install --force-reinstall --no-deps {command}' in str(
            caught[0].message)


def test_the_oldest_python_is_true() -> None:
    """Every extra installs on it: numba's oldest supported version, too."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    found = parser['options']['python_requires']
    oldest = re.fullmatch(r'>=(\d+\.\d+)', found)
    assert oldest is not None
    assert stack._numbers(oldest[1]) <= sys.version_info[:2]
    listed_versions = re.findall(
        r'Python :: (\d\.\d+)', parser['metadata']['classifiers'])
    assert listed_versions[0] == oldest[1]
    numba = metadata.metadata('numba')['Requires-Python']
    assert stack._numbers(numba) <= stack._numbers(oldest[1])
