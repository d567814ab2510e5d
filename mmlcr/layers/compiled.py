# Copyright (c) The mmlcr authors. All rights reserved.
"""A layer's two functions, as they are or compiled."""
import functools
import os
import shutil
import sys
import warnings
from typing import Callable, NamedTuple, Optional

import torch

from .cross_rwkv import answer, ask

# Shapes that a function is compiled for: sets of layers side by side, their
# first frames, training and inference.
VARIANTS = 64


class Functions(NamedTuple):
    """What a step of some layers consists of."""
    answer: Callable = answer
    ask: Callable = ask


@functools.lru_cache(maxsize=None)
def compiled_functions() -> Functions:
    """Both by ``torch.compile``, each as one graph.

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
