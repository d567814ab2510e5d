# Copyright (c) The mmlcr authors. All rights reserved.
"""Repairs of the published MMAction2 stack, only where it is broken.

Nothing here depends on LCR:

- :mod:`mmlcr.compat.localizers`: a module that the wheel of MMAction2 lacks;
- :mod:`mmlcr.compat.multimodal`: models that cannot be imported with the
  installed transformers;
- :mod:`mmlcr.compat.safe_globals`: MMEngine's checkpoints, which torch >= 2.6
  refuses;
- :mod:`mmlcr.compat.compiling`: methods that MMEngine's ``compile`` key has
  torch trace, which fails.
"""
from .compiling import exclude_from_compile
from .localizers import repair_localizers
from .multimodal import repair_multimodal
from .safe_globals import NUMPY_NAMES, allow_mmengine_checkpoints

__all__ = [
    'NUMPY_NAMES', 'allow_mmengine_checkpoints', 'exclude_from_compile',
    'repair_localizers', 'repair_multimodal'
]
