# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR (LSTM CrossRWKV) for MMAction2.

Importing this package repairs the published stack where it is broken (see
:mod:`mmlcr.compat`) and registers the model, the transforms and the data sets
with MMAction2.
"""
from .compat import allow_mmengine_checkpoints, repair_localizers, require_mmcv
from .version import __version__

require_mmcv()
repair_localizers()
allow_mmengine_checkpoints()

from . import datasets, engine, models, transforms  # noqa: E402,F401

engine.guard_loading()

__all__ = ['__version__']
