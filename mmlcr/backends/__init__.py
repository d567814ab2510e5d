# Copyright (c) The mmlcr authors. All rights reserved.
"""Backends that execute LCR, behind one interface.

``module`` is the definition: the layers' own ``forward``. All others compute
the same from packed weights, and support a model only if these describe it.
"""
from .base import (
    Backend,
    Executor,
    StackOutput,
    Tokens,
    backend_names,
    get_backend,
    is_traced,
    register_backend,
    select_backend,
    unregister_backend,
)
from .cache import ExecutorCache
from .eager import EagerBackend
from .inductor import InductorBackend
from .module import ModuleBackend
from .numba import NumbaBackend
from .onnx import OnnxBackend

__all__ = [
    'Backend', 'EagerBackend', 'Executor', 'ExecutorCache', 'InductorBackend',
    'ModuleBackend', 'NumbaBackend', 'OnnxBackend', 'StackOutput', 'Tokens',
    'backend_names', 'get_backend', 'is_traced', 'register_backend',
    'select_backend', 'unregister_backend'
]
