# Copyright (c) The mmlcr authors. All rights reserved.
"""A cache of executors, invalidated by changes of the parameters."""
import logging
import operator
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor, nn

from .base import Backend, Executor, is_traced, log, select_backend

_VERSION = operator.attrgetter('_version')
MAX_ENTRIES = 8  # input sizes, each with its own packed weights


class CacheEntry(NamedTuple):
    """A cached executor and what it was built from."""
    executor: Executor
    versions: Tuple[List[int], List[int]]
    # keeps the addresses in ``versions`` from being reused by other tensors
    tensors: List[Tensor]

    def is_valid(self, model: Any) -> bool:
        """Whether no parameter or normalization has changed since."""
        return self.versions == _versions(_tensors(model))


class ExecutorCache:
    """The executors of one model, by backend and number of tokens.

    Copies and pickles of a model start with an empty cache.
    """

    def __init__(self) -> None:
        self.entries: Dict[Tuple, CacheEntry] = {}
        self.logged: Dict[str, None] = {}

    def get(self, model: Any, clip: Tensor, num_tokens: int) -> Executor:
        """Return the executor for a clip; see :func:`select_backend`.

        Args:
            model (LCR): The model that owns this cache.
            clip (Tensor): Shape ``(B, 4, T, height, width)``.
            num_tokens (int): Tokens per frame, with CLS.
        """
        backend, reasons = select_backend(model, clip)
        self._log(model, backend, reasons)
        if torch.is_grad_enabled() or is_traced():
            return backend.build(model, num_tokens)
        if backend.follows_parameters:
            return backend.build(model, num_tokens)
        key = backend.name, num_tokens
        entry = self.entries.get(key)
        if entry is None or not entry.is_valid(model):
            entry = _build(backend, model, num_tokens)
            entries = {k: e for k, e in self.entries.items() if k != key}
            if len(entries) >= MAX_ENTRIES:
                del entries[next(iter(entries))]
            # other threads may read the old dictionary
            self.entries = {**entries, key: entry}
        return entry.executor

    def clear(self) -> None:
        """Drop all executors."""
        self.entries = {}

    def _log(self, model: Any, backend: Backend, reasons: str) -> None:
        """Log once which backend was selected, and why none faster was."""
        if not reasons:
            return
        message = (f'{type(model).__name__} runs by backend '
                   f'{backend.name!r} ({reasons})')
        if message not in self.logged:
            self.logged[message] = None
            slow = backend.name == 'module'
            log(message, logging.WARNING if slow else logging.INFO)

    def __deepcopy__(self, memo: dict) -> 'ExecutorCache':
        return ExecutorCache()

    def __reduce__(self) -> Tuple:
        return ExecutorCache, ()


def _build(backend: Backend, model: Any, num_tokens: int) -> CacheEntry:
    with torch.inference_mode(False), torch.no_grad():
        executor = backend.build(model, num_tokens)
        tensors = _tensors(model)
        return CacheEntry(executor, _versions(tensors),
                          [t.detach() for t in tensors])


def _tensors(model: Any) -> List[Tensor]:
    """List all tensors that an executor may have packed."""
    tensors: List[Tensor] = []
    _collect(model, tensors)
    if model.normalize is not None:
        tensors += model.normalize
    return tensors


def _collect(module: nn.Module, tensors: List[Tensor]) -> None:
    """Collect parameters, several times faster than ``parameters()``."""
    for parameter in module._parameters.values():
        if parameter is not None:
            tensors.append(parameter)
    for child in module._modules.values():
        if child is not None:
            _collect(child, tensors)


def _versions(tensors: List[Tensor]) -> Tuple[List[int], List[int]]:
    """Return the address and the in-place version of each tensor.

    Inference tensors have no version.
    """
    try:
        versions = [*map(_VERSION, tensors)]
    except RuntimeError:  # an inference tensor
        versions = [-1 if t.is_inference() else t._version for t in tensors]
    return [*map(Tensor.data_ptr, tensors)], versions
