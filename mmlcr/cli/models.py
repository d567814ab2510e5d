# Copyright (c) The mmlcr authors. All rights reserved.
"""From command-line arguments to a model or a stream."""
import argparse
from typing import Any, Tuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.registry import MODELS
from mmlcr.streaming import StreamRecognizer
from .launch import load_config


def build_model_and_clip(args: argparse.Namespace) -> Tuple[BaseModel, Tensor]:
    """The recognizer, for inference, and noise ``(1, 4, *shape)``."""
    config = load_config(args)
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model).eval()
    return model, torch.randn(1, 4, *args.shape)


def build_recognizer(args: argparse.Namespace,
                  **options: Any) -> StreamRecognizer:
    """By the arguments; ``options`` as of :class:`StreamRecognizer`."""
    return StreamRecognizer(
        load_config(args),
        args.checkpoint,
        device=args.device,
        context=args.context,
        fps=args.fps,
        pipeline=args.pipeline,
        **options)
