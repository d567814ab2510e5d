# Copyright (c) The mmlcr authors. All rights reserved.
"""Code blocks of README and pages."""
import re
from pathlib import Path
from typing import List


def blocks(page: Path, kind: str) -> List[str]:
    """Return the code blocks of a kind, such as ``'shell'``."""
    return re.findall(rf'```{kind}\n(.*?)```', page.read_text(), re.DOTALL)
