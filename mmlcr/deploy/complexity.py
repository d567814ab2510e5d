# Copyright (c) The mmlcr authors. All rights reserved.
"""The multiply-adds of a clip, and the parameters of a model."""
from typing import Any, Callable

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: BaseModel, clip: Tensor) -> float:
    """Multiply-adds of a clip, batch and channels first.

    Matrix products and convolutions are counted as they run, the operator's
    included; elementwise work is not, as is the custom.
    """
    return count_multiply_adds(lambda: model.cls_head(model.backbone(clip)))


def count_multiply_adds(run: Callable[[], object]) -> float:
    """Of the matrix products and convolutions that run, without gradients."""

    def in_place(base: torch.Size, a: torch.Size, b: torch.Size,
                 **kwargs: Any) -> int:
        return 2 * a.numel() * b[-1]

    # PyTorch's counter overlooks it
    mapping = {torch.ops.aten.baddbmm_: in_place}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2  # a multiply-add is two operations


def num_parameters(model: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())
