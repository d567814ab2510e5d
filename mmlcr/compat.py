# Copyright (c) The mmlcr authors. All rights reserved.
"""Repairs of the published MMAction2 stack, only where it is broken.

Three faults meet whoever installs MMAction2 1.2.0 from the registry today:

- ``mmaction.models`` imports ``localizers.drn``, which the wheel lacks
  (open-mmlab/mmaction2 issue 2714): an empty stand-in takes its place.
- torch >= 2.6 loads checkpoints with ``weights_only=True`` and refuses those
  that MMEngine writes: the few classes that they hold are allowed, and
  nothing else, so that loading never runs foreign code.
- Without mmcv the error names a module that nobody knows how to install.
"""
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any, Callable, Dict

import numpy as np
import torch

_DRN = 'mmaction.models.localizers.drn'


def require_mmcv() -> None:
    """Say what to install where there is no mmcv.

    Raises:
        ImportError: If neither mmcv nor mmcv-lite is installed.
    """
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'mmlcr needs mmcv (>= 2.0, < 2.2): run "pip install '
            '\'mmcv-lite>=2.0.1,<2.2\'" unless you have, or want to compile, '
            'the full mmcv; never install both')


def repair_localizers() -> bool:
    """Stand in for ``localizers.drn`` where the wheel lacks it.

    Returns:
        bool: Whether there was something to repair.
    """
    if 'mmaction.models' in sys.modules or _drn_is_there():
        return False
    package, module = types.ModuleType(_DRN), types.ModuleType(f'{_DRN}.drn')
    package.__path__ = []
    for stand_in in (package, module):
        stand_in.__spec__ = importlib.machinery.ModuleSpec(
            stand_in.__name__, None)
        sys.modules[stand_in.__name__] = stand_in

    class DRN:
        """Stands in for the localizer that the wheel lacks."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                'the published mmaction2 wheel lacks the DRN localizer; '
                'install mmaction2 from its repository to use it')

    module.DRN = DRN  # type: ignore[attr-defined]
    return True


def _drn_is_there() -> bool:
    """Look for the file without importing ``mmaction.models``."""
    spec = importlib.util.find_spec('mmaction')
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing of ours to repair; the import will say so
    locations = [f'{path}/models/localizers'
                 for path in spec.submodule_search_locations]
    return importlib.machinery.PathFinder.find_spec(
        'drn', locations) is not None


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    Allowed are MMEngine's log buffers, the numpy arrays in them, and its
    one-cycle schedule. Their pickles also look up methods by ``getattr``; a
    stand-in answers that for the four statistics of a buffer and the two
    curves of the schedule, and refuses the rest.
    """
    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4 has no such gate
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import \
        OneCycleParamScheduler

    methods = {
        HistoryBuffer: ('min', 'max', 'current', 'mean'),
        OneCycleParamScheduler:
        ('_annealing_cos', '_annealing_linear'),
    }

    def known_method(owner: type, name: str) -> Callable:
        """``getattr`` for the methods above alone."""
        if name in methods.get(owner, ()):
            return getattr(owner, name)
        raise RuntimeError(
            f'refused: the checkpoint asks for getattr({owner!r}, {name!r})')

    array = np._core if hasattr(np, '_core') else np.core
    torch.serialization.add_safe_globals([
        *methods,
        (known_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *((getattr(array.multiarray, name), f'{package}.multiarray.{name}')
          for name in ('_reconstruct', 'scalar')
          for package in ('numpy.core', 'numpy._core')),
        *_DTYPES.values(),
    ])


_DTYPES: Dict[str, type] = {
    name: type(np.dtype(name))
    for name in ('float64', 'float32', 'int64', 'int32')
}
