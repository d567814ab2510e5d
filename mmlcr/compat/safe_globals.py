# Copyright (c) The mmlcr authors. All rights reserved.
"""MMEngine's checkpoints under ``torch.load(weights_only=True)``.

torch >= 2.6 loads checkpoints this way by default, and refuses those of
MMEngine. This module allows only the few classes in them, so that loading
never runs foreign code.
"""
from typing import Any, Callable, Dict, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    Besides weights they hold log buffers, NumPy scalars (the remaining time,
    the best score) and, with a one-cycle schedule, a method of its class. Each
    name in such a pickle resolves to a stand-in that can create nothing else.
    NumPy's own functions are not used: with a dtype from the file, they would
    interpret bytes of the file as addresses of objects.
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


# each is a singleton of NumPy's, which a pickled state cannot change
_NUMBER_TYPES = {
    name: np.dtype(name)
    for name in ('f8', 'f4', 'i8', 'i4')
}


class _LogBuffer(HistoryBuffer):
    """Becomes a ``HistoryBuffer`` with the numbers of the checkpoint."""

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
    """Stand-in for ``OneCycleParamScheduler``, to look up its methods."""

    def __init__(self) -> None:
        raise RuntimeError('refused: the checkpoint calls a scheduler')


class _NumberArray(np.ndarray):
    """An array of numbers in a checkpoint."""

    def __new__(cls, *args: Any) -> '_NumberArray':
        raise RuntimeError('refused: the checkpoint calls numpy.ndarray')

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        _check_numbers(dtype, data)
        super().__setstate__((1, shape, dtype, fortran, data))

    def __reduce__(self) -> Any:
        return np.array(self).__reduce__()


def _empty_array(*args: Any) -> np.ndarray:
    """Create an array that gets its content by ``__setstate__``."""
    return np.ndarray.__new__(_NumberArray, (0, ), 'f8')


def _number(dtype: np.dtype, data: bytes) -> np.generic:
    """Stand-in for ``numpy.core.multiarray.scalar``, for numbers only."""
    _check_numbers(dtype, data)
    return np.frombuffer(data, dtype, count=1)[0]


def _number_type(name: str, *args: Any) -> np.dtype:
    """Stand-in for ``numpy.dtype``, for the types of numbers in logs."""
    if type(name) is not str or name not in _NUMBER_TYPES:
        raise RuntimeError(f'refused: the checkpoint holds numpy {name!r}')
    return _NUMBER_TYPES[name]


def _check_numbers(dtype: Any, data: Any) -> None:
    known = any(dtype is number for number in _NUMBER_TYPES.values())
    if not known or type(data) is not bytes:
        raise RuntimeError(f'refused: the checkpoint holds numpy {dtype!r} '
                           f'in {type(data)}')


def _attribute(owner: Any, name: str) -> Callable:
    """Stand-in for ``getattr``, for the methods named in checkpoints."""
    if owner is _LogBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    if owner is _OneCycle and name in ('_annealing_cos', '_annealing_linear'):
        from mmengine.optim.scheduler.param_scheduler import (
            OneCycleParamScheduler,
        )
        return getattr(OneCycleParamScheduler, name)
    raise RuntimeError(
        f'refused: the checkpoint asks for getattr({owner!r}, {name!r})')


# the stand-in for each of NumPy's names in a pickle of numbers
NUMPY_NAMES: Dict[Tuple[str, str], Any] = {
    ('numpy', 'ndarray'): _NumberArray,
    ('numpy', 'dtype'): _number_type,
    **{(f'numpy.{core}.multiarray', '_reconstruct'): _empty_array
       for core in ('core', '_core')},
    **{(f'numpy.{core}.multiarray', 'scalar'): _number
       for core in ('core', '_core')},
}
