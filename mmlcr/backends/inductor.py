# Copyright (c) The mmlcr authors. All rights reserved.
"""The eager backend with its functions compiled by ``torch.compile``."""
import functools
import os
import shutil
import sys
from typing import Any, Callable, Optional

import torch
from torch import Tensor

from .base import Backend, register_backend
from .eager import EagerExecutor
from .packing import unsupported_by_packing

# limit of the shapes that a function is compiled for: they depend on the
# number of layers, on how many are at their first frame, and on training
VARIANTS = 64


@functools.lru_cache(maxsize=None)
def compiled(function: Callable) -> Callable:
    """Compile a function as one graph for each input shape."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    return torch.compile(function, dynamic=False)


def find_compiler() -> Optional[str]:
    """Find the C++ compiler that ``torch.compile`` would use."""
    usual = {'win32': 'cl', 'darwin': 'clang++'}.get(sys.platform, 'g++')
    return shutil.which(os.environ.get('CXX', usual))


class InductorBackend(Backend):
    """Only used if named: it compiles for minutes for each input shape."""
    name = 'inductor'
    priority = -1

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Needs a C++ compiler and layers that packed weights describe."""
        if clip.device.type == 'cpu' and find_compiler() is None:
            return 'there is no C++ compiler (CXX, g++ or clang++)'
        return unsupported_by_packing(model)

    def build(self, model: Any, num_tokens: int) -> EagerExecutor:
        """Build an eager executor with compiled functions."""
        return EagerExecutor(model, num_tokens, compiled)


register_backend(InductorBackend())
