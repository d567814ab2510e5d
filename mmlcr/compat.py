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
        _DRN, locations) is not None


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    Allowed are MMEngine's log buffers and the numpy arrays in them. Their
    pickles also look up methods of the buffer by ``getattr``; a stand-in
    answers that for the four methods of statistics and refuses the rest.
    """
    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4 has no such gate
    from mmengine.logging import HistoryBuffer

    def history_buffer_method(owner: type, name: str) -> Callable:
        """``getattr`` for ``HistoryBuffer``'s statistics alone."""
        if owner is HistoryBuffer and name in _STATISTICS:
            return getattr(HistoryBuffer, name)
        raise RuntimeError(
            f'refused: the checkpoint asks for getattr({owner!r}, {name!r})')

    array = np._core if hasattr(np, '_core') else np.core
    torch.serialization.add_safe_globals([
        HistoryBuffer,
        (history_buffer_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        (array.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (array.multiarray._reconstruct, 'numpy._core.multiarray._reconstruct'),
        *_DTYPES.values(),
    ])


_STATISTICS = ('min', 'max', 'current', 'mean')
_DTYPES: Dict[str, type] = {
    name: type(np.dtype(name))
    for name in ('float64', 'float32', 'int64', 'int32')
}
