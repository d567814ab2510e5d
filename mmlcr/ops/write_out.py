# Copyright (c) The mmlcr authors. All rights reserved.
"""Write results into existing tensors, where there is no autograd."""
from typing import Any, Callable

import torch
from torch import Tensor


def write_out(out: Tensor, function: Callable[..., Tensor],
              *args: Any) -> None:
    """Write ``function(*args)`` into a view.

    In eager mode this is ``out=``, which torch.compile refuses for views:
    there it is a copy, which the compiler fuses.
    """
    if torch.compiler.is_compiling():
        out.copy_(function(*args))
    else:
        function(*args, out=out)
