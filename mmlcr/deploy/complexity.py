# Copyright (c) The mmlcr authors. All rights reserved.
"""Multiply-adds of a clip, and number of parameters of a model."""
from typing import Any, Callable

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def recognizer_scores(model: BaseModel, inputs: Tensor) -> Tensor:
    """Compute the scores of clips with any recognizer of MMAction2.

    Args:
        model (BaseModel): The recognizer.
        inputs (Tensor): Clips as its data preprocessor returns them: shape
            ``(N, clips, channels, T, height, width)``, or for a 2D recognizer
            ``(N, clips * T, channels, height, width)``.

    Returns:
        Tensor: Scores ``(N * clips, num_classes)`` before softmax.
    """
    feature, arguments = model.extract_feat(inputs, test_mode=True)
    return model.cls_head(feature, **arguments)


def multiply_adds(model: BaseModel, inputs: Tensor) -> float:
    """Count the multiply-adds of :func:`recognizer_scores`.

    Matrix products and convolutions are counted as they run, including those
    of the WKV operator. As usual, elementwise operations are not counted.
    """
    return count_multiply_adds(lambda: recognizer_scores(model, inputs))


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
