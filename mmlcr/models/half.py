# Copyright (c) The mmlcr authors. All rights reserved.
"""Weights in half precision, by ``model.half()`` or ``model.bfloat16()``.

Matrices, which hold nearly all weights, become half precision. Norms, decays,
mixing weights and tokens stay in float32, as do the memory and all sums: the
model runs under autocast.
"""
import functools
from typing import Any, Callable, Optional, TypeVar

import torch
from torch import Tensor, nn

HALF = torch.float16, torch.bfloat16
Method = TypeVar('Method', bound=Callable)


def convert_matrices_only(model: nn.Module,
                          convert: Callable[[Tensor], Tensor]
                          ) -> Callable[[Tensor], Tensor]:
    """Restrict a conversion to half precision to the matrices.

    Args:
        model (nn.Module): The model that is converted.
        convert (callable): What ``nn.Module._apply`` calls with each tensor.

    Returns:
        callable: The conversion, which for all other tensors of the model
        changes the device but not the dtype.
    """
    matrices = set()
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            for weight in module.parameters(recurse=False):
                matrices |= {id(weight), id(weight.grad)}

    def convert_one(tensor: Tensor) -> Tensor:
        converted = convert(tensor)
        if converted.dtype in HALF and id(tensor) not in matrices:
            return tensor.to(converted.device)
        return converted

    return convert_one


def half_dtype(model: nn.Module) -> Optional[torch.dtype]:
    """Return the half precision that some weights are in, or None."""
    return next((weight.dtype for weight in model.parameters()
                 if weight.dtype in HALF), None)


def under_autocast(method: Method) -> Method:
    """Run a method under autocast if ``model.half_dtype`` says so.

    Args:
        method (callable): Method whose first argument is a clip.
    """

    @functools.wraps(method)
    def run(model: Any, clip: Tensor, *args: Any, **options: Any) -> Any:
        if model.half_dtype is None:
            return method(model, clip, *args, **options)
        if clip.is_floating_point():
            clip = clip.float()
        with torch.autocast(clip.device.type, model.half_dtype):
            return method(model, clip, *args, **options)

    return run  # type: ignore[return-value]
