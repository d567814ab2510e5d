# Copyright (c) The mmlcr authors. All rights reserved.
"""Arrays, reused memory and threads for kernels that Numba compiles."""
import functools
import math
import threading

import numba
import numpy as np
import torch
from torch import Tensor

_thread_local = threading.local()


def as_array(x: Tensor) -> np.ndarray:
    """In float32 and in one piece; the same memory where it is so already."""
    return x.detach().to(torch.float32).contiguous().numpy()


def workspace(name: str, *shape: int) -> np.ndarray:
    """Uninitialised memory of this thread, reused between calls.

    Returns:
        np.ndarray: Float32, of that shape. The content is lost with the next
        call under the same name.
    """
    size = math.prod(shape)
    buffers = _thread_local.__dict__
    if name not in buffers or len(buffers[name]) < size:
        buffers[name] = torch.empty(size).numpy()  # aligned for products
    return buffers[name][:size].reshape(shape)


def share_threads() -> int:
    """Let Numba use as many threads as PyTorch; returns how many it has."""
    numba.set_num_threads(min(torch.get_num_threads(), _start_threads()))
    return numba.get_num_threads()


@functools.lru_cache(maxsize=None)
def _start_threads() -> int:
    """Start Numba's; returns how many there are.

    They may be PyTorch's, too, and starting them sets the number of both.
    """
    before = torch.get_num_threads()
    started = numba.get_num_threads()
    torch.set_num_threads(before)
    return started
