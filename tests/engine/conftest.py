# Copyright (c) The mmlcr authors. All rights reserved.
"""A tiny motion data set to train on."""
from pathlib import Path

import pytest
from processes import run_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/motion``: 24 clips to train, 12 of each other."""
    folder = tmp_path_factory.mktemp('data')
    run_script(ROOT / 'tools/make_motion.py', '--clips', 2, 1, 1,
               cwd=folder).check_returncode()
    return folder
