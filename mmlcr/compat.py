# Copyright (c) The mmlcr authors. All rights reserved.
"""Repairs of the published MMAction2 stack, only where it is broken.

Three faults meet whoever installs MMAction2 1.2.0 from the registry today:

- ``mmaction.models`` imports ``localizers.drn``, which the wheel lacks
  (open-mmlab/mmaction2 issue 2714): an empty stand-in takes its place.
- torch >= 2.6 loads checkpoints with ``weights_only=True`` and refuses those
  that MMEngine writes: the few classes that they hold are allowed, and
  nothing else, so that loading never runs foreign code.
- MMEngine's ``compile`` key has torch trace the optimizer's step, which fails.
"""
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any, Callable, Dict, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper

_DRN = 'mmaction.models.localizers.drn'


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


def prepare_for_compile() -> None:
    """Make MMEngine's ``compile`` key work, which compiles ``train_step``.

    torch cannot trace the optimizer's step as MMEngine makes it: it stays as
    it is. So do LCR's loops over layers and frames, which would be unrolled;
    the functions that they call are compiled.
    """
    from mmlcr.models import LCR
    update, run = OptimWrapper.update_params, LCR._run
    OptimWrapper.update_params = torch.compiler.disable(update)
    LCR._run = torch.compiler.disable(  # type: ignore[method-assign]
        run, recursive=False)


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    Beside weights they hold log buffers, numpy scalars (the time left, the
    best score) and, with a one-cycle schedule, a function of its class. A
    stand-in answers for each name in such a pickle and makes nothing else.
    numpy's own functions are not handed out: with a dtype of the file's making
    they take its bytes for the addresses of objects.
    """
    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4 has no such gate
    torch.serialization.add_safe_globals([
        (_LogBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_OneCycle, 'mmengine.optim.scheduler.param_scheduler.'
         'OneCycleParamScheduler'),
        (_attribute, 'builtins.getattr'),
        *((value, '.'.join(name)) for name, value in NUMPY_NAMES.items()),
        *(type(dtype) for dtype in _NUMBER_TYPES.values()),
    ])


# numpy keeps one object of each, which no pickled state can change
_NUMBER_TYPES = {
    name: np.dtype(name)
    for name in ('f8', 'f4', 'i8', 'i4')
}


class _LogBuffer(HistoryBuffer):
    """Turns into a ``HistoryBuffer`` with the numbers of the checkpoint."""

    def __init__(self) -> None:
        raise RuntimeError('refused: the checkpoint calls HistoryBuffer')

    def __setstate__(self, state: dict) -> None:
        logs, counts = state['_log_history'], state['_count_history']
        if not type(logs) is type(counts) is _NumberArray:
            raise RuntimeError('refused: a log buffer of the checkpoint holds '
                               f'{type(logs)} and {type(counts)}')
        self.__class__ = HistoryBuffer
        HistoryBuffer.__init__(self, max_length=int(state['max_length']))
        self._log_history = np.array(logs)
        self._count_history = np.array(counts)


class _OneCycle:
    """The place of ``OneCycleParamScheduler``, for its functions alone."""

    def __init__(self) -> None:
        raise RuntimeError('refused: the checkpoint calls a scheduler')


class _NumberArray(np.ndarray):
    """An array of numbers out of a checkpoint."""

    def __new__(cls, *args: Any) -> '_NumberArray':
        raise RuntimeError('refused: the checkpoint calls numpy.ndarray')

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        _check_numbers(dtype, data)
        super().__setstate__((1, shape, dtype, fortran, data))

    def __reduce__(self) -> Any:
        return np.array(self).__reduce__()


def _empty_array(*args: Any) -> np.ndarray:
    """What takes on the shape and the numbers of the checkpoint."""
    return np.ndarray.__new__(_NumberArray, (0, ), 'f8')


def _number(dtype: np.dtype, data: bytes) -> np.generic:
    """``numpy.core.multiarray.scalar`` for numbers."""
    _check_numbers(dtype, data)
    return np.frombuffer(data, dtype, count=1)[0]


def _number_type(name: str, *args: Any) -> np.dtype:
    """``numpy.dtype`` for the few kinds of numbers in logs."""
    if type(name) is not str or name not in _NUMBER_TYPES:
        raise RuntimeError(f'refused: the checkpoint holds numpy {name!r}')
    return _NUMBER_TYPES[name]


def _check_numbers(dtype: Any, data: Any) -> None:
    known = any(dtype is number for number in _NUMBER_TYPES.values())
    if not known or type(data) is not bytes:
        raise RuntimeError(f'refused: the checkpoint holds numpy {dtype!r} '
                           f'in {type(data)}')


def _attribute(owner: Any, name: str) -> Callable:
    """``getattr`` for the few functions that such checkpoints name."""
    if owner is _LogBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    if owner is _OneCycle and name in ('_annealing_cos', '_annealing_linear'):
        from mmengine.optim.scheduler.param_scheduler import (
            OneCycleParamScheduler,
        )
        return getattr(OneCycleParamScheduler, name)
    raise RuntimeError(
        f'refused: the checkpoint asks for getattr({owner!r}, {name!r})')


# what stands in for each of numpy's names in a pickle of numbers
NUMPY_NAMES: Dict[Tuple[str, str], Any] = {
    ('numpy', 'ndarray'): _NumberArray,
    ('numpy', 'dtype'): _number_type,
    **{(f'numpy.{core}.multiarray', '_reconstruct'): _empty_array
       for core in ('core', '_core')},
    **{(f'numpy.{core}.multiarray', 'scalar'): _number
       for core in ('core', '_core')},
}
