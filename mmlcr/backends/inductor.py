# Copyright (c) The mmlcr authors. All rights reserved.
"""The eager backend with its steps compiled by ``torch.compile``."""
import functools
import os
import shutil
import sys
from typing import Any, Callable, Optional

import torch
from torch import Tensor

from .base import Backend, register_backend
from .eager import EagerExecutor
from .packing import unknown_to_packing

# Shapes that a function is compiled for: sets of layers side by side, their
# first frames, training and inference.
VARIANTS = 64


@functools.lru_cache(maxsize=None)
def compiled(function: Callable) -> Callable:
    """A function as one graph, compiled for each shape."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    return torch.compile(function, dynamic=False)


def find_compiler() -> Optional[str]:
    """The C++ compiler that ``torch.compile`` would find."""
    usual = {'win32': 'cl', 'darwin': 'clang++'}.get(sys.platform, 'g++')
    return shutil.which(os.environ.get('CXX', usual))


class InductorBackend(Backend):
    """On request only: it compiles for minutes for each input shape."""
    name = 'inductor'
    priority = -1

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """A machine without a C++ compiler, and what eager does not do."""
        if clip.device.type == 'cpu' and find_compiler() is None:
            return 'there is no C++ compiler (CXX, g++ or clang++)'
        return unknown_to_packing(model)

    def build(self, model: Any, num_tokens: int) -> EagerExecutor:
        """An eager executor whose functions are compiled."""
        return EagerExecutor(model, num_tokens, compiled)


register_backend(InductorBackend())
