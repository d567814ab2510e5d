# Copyright (c) The mmlcr authors. All rights reserved.
"""Multiply-adds of a clip, and number of parameters of a model."""
from typing import Any, Callable

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: BaseModel, clip: Tensor) -> float:
    """Count the multiply-adds of a clip ``(B, 4, T, height, width)``.

    Matrix products and convolutions are counted as they run, including those
    of the WKV operator. As usual, elementwise operations are not counted.
    """
    return count_multiply_adds(lambda: model.cls_head(model.backbone(clip)))


def count_multiply_adds(run: Callable[[], object]) -> float:
    """Count the multiply-adds of matrix products and convolutions.

    Args:
        run (Callable): Function to count; it runs once, without gradients.
    """

    def baddbmm_flops(base: torch.Size, a: torch.Size, b: torch.Size,
                      **kwargs: Any) -> int:
        return 2 * a.numel() * b[-1]

    # PyTorch's counter lacks it
    mapping = {torch.ops.aten.baddbmm_: baddbmm_flops}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2  # a multiply-add is two operations


def num_parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
