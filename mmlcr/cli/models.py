# Copyright (c) The mmlcr authors. All rights reserved.
"""Build a model or a stream from the arguments of a command."""
import argparse
from typing import Any, Tuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.registry import MODELS
from mmlcr.streaming import Settings, StreamRecognizer
from .launch import load_config


def build_model_and_clip(args: argparse.Namespace) -> Tuple[BaseModel, Tensor]:
    """Build the recognizer for inference, and draw a clip.

    Returns:
        tuple[BaseModel, Tensor]: The model, and noise ``(1, 4, *shape)``.
    """
    config = load_config(args)
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model).eval()
    return model, torch.randn(1, 4, *args.shape)


def build_recognizer(args: argparse.Namespace,
                     **options: Any) -> StreamRecognizer:
    """Build a stream; ``options`` are those of :class:`StreamRecognizer`."""
    return StreamRecognizer(
        load_config(args),
        args.checkpoint,
        device=args.device,
        context=args.context,
        fps=args.fps,
        pipeline=args.pipeline,
        **options)


def segment_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of segments, with defaults filled in."""
    given = {name: getattr(args, name) for name in Settings._fields}
    return Settings()._replace(**{
        name: value
        for name, value in given.items() if value is not None
    })
