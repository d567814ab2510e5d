# Copyright (c) The mmlcr authors. All rights reserved.
"""What layers do of a frame: as it is, fused or compiled."""
import functools
import importlib
import os
import shutil
import sys
import warnings
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Type

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .cross_rwkv import answer, ask
from .vrwkv6 import pass_through

if TYPE_CHECKING:
    from .fused import FusedLayers
    from .fused_stem import FusedStem

# Shapes that a function is compiled for: sets of layers side by side, their
# first frames, training and inference.
VARIANTS = 64
# Kernels that Numba 0.57 compiles give wrong states where threads share a
# clip's layers; none before this one is tested.
OLDEST_NUMBA = (0, 68)


class Functions(NamedTuple):
    """What a step of some layers consists of."""
    answer: Callable = answer
    ask: Callable = ask
    pass_through: Callable = pass_through  # of layers as Vision-RWKV's


class Fused(NamedTuple):
    """What takes frames through patch stems and layers by fused kernels."""
    stem: Type['FusedStem']
    layers: Type['FusedLayers']


def is_traced() -> bool:
    """Whether what runs is recorded, to be run again with other values."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def find_fused(x: Tensor) -> Optional[Fused]:
    """Fused kernels for frames ``x``.

    They are for inference on a CPU in float32, and nothing can look into
    them: neither a tracer nor a compiler nor what counts operations.

    Returns:
        Fused, optional: None where they can't be used, Numba is missing or
        can't share threads with PyTorch's products.
    """
    plain = (
        type(x) is Tensor and x.dtype in (torch.float32, torch.uint8)
        and x.device.type == 'cpu' and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu') and not is_traced()
        and _get_current_dispatch_mode() is None)
    return _fused() if plain else None


@functools.lru_cache(maxsize=None)
def _fused() -> Optional[Fused]:
    try:
        import numba
        if numba.version_info[:2] < OLDEST_NUMBA:
            return None
        # OpenMP; with what else Numba has, kernels start too slowly
        importlib.import_module('numba.np.ufunc.omppool')
        from .fused import FusedLayers
        from .fused_stem import FusedStem
    except ImportError:
        return None
    return Fused(FusedStem, FusedLayers)


@functools.lru_cache(maxsize=None)
def compiled_functions() -> Functions:
    """All by ``torch.compile``, each as one graph.

    Without a C++ compiler there is a warning, once, and the functions are as
    they are.
    """
    if find_compiler() is None:
        warnings.warn(
            'compile_step=True needs a C++ compiler (CXX, g++ or clang++), '
            'and there is none: LCR runs without being compiled',
            stacklevel=2)
        return Functions()
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    return Functions(
        *(torch.compile(function, dynamic=False) for function in Functions()))


def find_compiler() -> Optional[str]:
    """The C++ compiler that ``torch.compile`` would find."""
    usual = {'win32': 'cl', 'darwin': 'clang++'}.get(sys.platform, 'g++')
    return shutil.which(os.environ.get('CXX', usual))
