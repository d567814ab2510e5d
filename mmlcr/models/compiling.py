# Copyright (c) The mmlcr authors. All rights reserved.
"""Support for MMEngine's ``compile`` key."""
from mmengine.optim import OptimWrapper

from mmlcr.compat import exclude_from_compile
from .lcr import LCR


def prepare_for_compile() -> None:
    """Make MMEngine's ``compile`` key work, which compiles ``train_step``.

    MMEngine's optimizer step cannot be traced by torch, so it is excluded.
    LCR's loops over layers and frames are excluded, too, because torch would
    unroll them; the functions that they call are compiled. Further calls have
    no effect.
    """
    exclude_from_compile(OptimWrapper, 'update_params')
    exclude_from_compile(LCR, '_run', recursive=False)
