# Copyright (c) The mmlcr authors. All rights reserved.
"""Where the files of failing users are."""
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[3] / 'shared' / 'cases'


@pytest.fixture
def cases() -> Path:
    """Inputs of users that failed once."""
    if not CASES.is_dir():
        pytest.skip(f'there is no {CASES}')
    return CASES
