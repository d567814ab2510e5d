# Copyright (c) The mmlcr authors. All rights reserved.
"""A config's model and a clip for it, and the work that the clip takes."""
import argparse
from typing import Tuple

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
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.cls_head(model.backbone(clip))
    return counter.get_total_flops() / 2  # a multiply-add is two operations


def num_parameters(model: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())
