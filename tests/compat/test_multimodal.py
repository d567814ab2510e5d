# Copyright (c) The mmlcr authors. All rights reserved.
"""MMAction2 with packages that break its multimodal models."""
from pathlib import Path
from typing import Callable

import pytest

from mmlcr.compat import multimodal

CODE = ('import sys\n'
        'sys.path.insert(0, sys.argv[1])\n'
        'import mmlcr\n'
        'from mmaction.registry import MODELS\n'
        'import mmaction.models\n'
        'assert MODELS.get("LCR") and MODELS.get("TimeSformer")\n'
        'try:\n'
        '    MODELS.get("VindLUVQA")()\n'
        'except ImportError as error:\n'
        '    print(error)\n')


def install(root: Path, name: str, version: str, source: str = '') -> None:
    (root / name).mkdir()
    (root / name / '__init__.py').write_text(f'__version__ = "{version}"\n')
    (root / name / 'modeling_utils.py').write_text(source)
    info = root / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


@pytest.mark.parametrize('timm', [True, False], ids=['timm', 'no-timm'])
def test_all_other_models_are_there(timm: bool, tmp_path: Path,
                                    run_python: Callable) -> None:
    install(tmp_path, 'transformers', '5.0.0')
    if timm:
        install(tmp_path, 'timm', '1.0.0')
    run = run_python(CODE, tmp_path)
    assert run.returncode == 0, run.stderr
    assert 'requires extra multi-modal dependencies' in run.stdout


def test_a_transformers_that_has_all_is_left_alone(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(multimodal.sys.modules, 'mmaction.models')
    for name in ('transformers', 'timm'):
        monkeypatch.delitem(multimodal.sys.modules, name, raising=False)
    install(tmp_path, 'transformers', '4.30.0',
            'def apply_chunking_to_forward(): pass\n')
    install(tmp_path, 'timm', '0.9.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert multimodal.repair_multimodal() is False
