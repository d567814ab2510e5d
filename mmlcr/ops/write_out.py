# Copyright (c) The mmlcr authors. All rights reserved.
"""Write results into existing tensors, in functions without autograd."""
from typing import Any, Callable

import torch
from torch import Tensor


def write_out(out: Tensor, function: Callable[..., Tensor],
              *args: Any) -> None:
    """Write ``function(*args)`` into a view, without a copy.

    The compiler refuses ``out=`` of a view, and needs none: there it is a
    copy, which it fuses.
    """
    if torch.compiler.is_compiling():
        out.copy_(function(*args))
    else:
        function(*args, out=out)
