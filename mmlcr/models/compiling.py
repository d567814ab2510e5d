# Copyright (c) The mmlcr authors. All rights reserved.
"""What MMEngine's ``compile`` key needs for LCR."""
from mmengine.optim import OptimWrapper

from mmlcr.compat import exclude_from_compile
from .lcr import LCR


def prepare_for_compile() -> None:
    """Make MMEngine's ``compile`` key work, which compiles ``train_step``.

    torch cannot trace the optimizer's step as MMEngine makes it, so it is not
    compiled. Nor are LCR's loops over layers and frames, which torch would
    unroll, but the functions that they call. Further calls have no effect.
    """
    exclude_from_compile(OptimWrapper, 'update_params')
    exclude_from_compile(LCR, '_run', recursive=False)
