# Copyright (c) The mmlcr authors. All rights reserved.
"""Arrays, reused memory and threads for Numba's kernels."""
import functools
import math
import threading

import numba
import numpy as np
import torch
from torch import Tensor

_thread_local = threading.local()


def as_array(x: Tensor) -> np.ndarray:
    """Convert to a contiguous float32 array, without a copy if possible."""
    return x.detach().to(torch.float32).contiguous().numpy()


def workspace(name: str, *shape: int) -> np.ndarray:
    """Return uninitialised memory of this thread, reused between calls.

    Returns:
        np.ndarray: Float32, of that shape. The next call with the same name
        overwrites it.
    """
    size = math.prod(shape)
    buffers = _thread_local.__dict__
    if name not in buffers or len(buffers[name]) < size:
        buffers[name] = torch.empty(size).numpy()  # aligned for products
    return buffers[name][:size].reshape(shape)


def share_threads() -> int:
    """Let Numba use as many threads as PyTorch; return their number."""
    numba.set_num_threads(min(torch.get_num_threads(), _start_threads()))
    return numba.get_num_threads()


@functools.lru_cache(maxsize=None)
def _start_threads() -> int:
    """Start Numba's threads; return their number.

    With a shared OpenMP runtime, starting them also changes PyTorch's number
    of threads, which is restored.
    """
    before = torch.get_num_threads()
    started = numba.get_num_threads()
    torch.set_num_threads(before)
    return started
