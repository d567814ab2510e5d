# Copyright (c) The mmlcr authors. All rights reserved.
"""The folder of files that failed for users."""
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[3] / 'shared' / 'cases'


@pytest.fixture
def cases() -> Path:
    """Inputs of users that once failed."""
    if not CASES.is_dir():
        pytest.skip(f'there is no {CASES}')
    return CASES
