# Copyright (c) The mmlcr authors. All rights reserved.
"""What kernels that Numba compiles work in: arrays, memory, threads."""
import functools
import math
import threading

import numba
import numpy as np
import torch
from torch import Tensor

_of_thread = threading.local()


def as_array(x: Tensor) -> np.ndarray:
    """In float32 and in one piece; the same memory where it is so already."""
    return x.detach().to(torch.float32).contiguous().numpy()


def scratch(name: str, *shape: int) -> np.ndarray:
    """Memory to work in, the same whenever there is enough of it.

    So it need not be asked of the system again and again.
    """
    size = math.prod(shape)
    kept = _of_thread.__dict__
    if name not in kept or len(kept[name]) < size:
        kept[name] = torch.empty(size).numpy()  # aligned for the products
    return kept[name][:size].reshape(shape)


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
