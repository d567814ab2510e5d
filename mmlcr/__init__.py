# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR (LSTM CrossRWKV) for MMAction2.

Importing this package looks at the stack (:mod:`mmlcr.stack`), repairs it
where it is broken (:mod:`mmlcr.compat`) and registers the model, the
transforms and the data sets with MMAction2.
"""
from .stack import require_stack
from .version import __version__

require_stack()

from .compat import (  # noqa: E402
    allow_mmengine_checkpoints,
    repair_localizers,
    repair_multimodal,
)

repair_localizers()
repair_multimodal()
allow_mmengine_checkpoints()

from . import datasets, engine, models, transforms  # noqa: E402,F401

engine.register_loaders()

__all__ = ['__version__']
