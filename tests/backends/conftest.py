# Copyright (c) The mmlcr authors. All rights reserved.
"""Messages go to the logger ``mmlcr``, whatever ran before in the process."""
import pytest
from mmengine.logging import MMLogger


@pytest.fixture(autouse=True)
def no_log_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of another test leaves its log, which would get them."""
    monkeypatch.setattr(MMLogger, '_instance_dict', {})
