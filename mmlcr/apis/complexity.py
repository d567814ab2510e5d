# Copyright (c) The mmlcr authors. All rights reserved.
"""A config's model and a clip for it, and the work that the clip takes."""
import argparse
from typing import Any, Callable, Tuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmaction.registry import MODELS
from .launch import add_config_arguments, load_config


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config, and the shape of the clip."""
    parser.add_argument('config', help='config file of LCR')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        default=(16, 224, 224),
        metavar=('FRAMES', 'HEIGHT', 'WIDTH'))
    add_config_arguments(parser)


def build_model_and_clip(args: argparse.Namespace) -> Tuple[BaseModel, Tensor]:
    """The recognizer, for inference, and noise ``(1, 4, *shape)``."""
    config = load_config(args)
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model).eval()
    return model, torch.randn(1, 4, *args.shape)


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
