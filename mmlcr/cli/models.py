# Copyright (c) The mmlcr authors. All rights reserved.
"""Build a model or a stream from the arguments of a command."""
import argparse
from typing import Any, Tuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import MODELS
from mmlcr.models import LCR
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


def recognizer_inputs(model: BaseModel, clip: Tensor) -> Tensor:
    """Arrange a clip ``(1, 4, T, height, width)`` as a recognizer takes it.

    Returns:
        Tensor: One clip for LCR, ``(1, 1, 4, T, height, width)``. Other
        recognizers take no edge map: ``(1, 1, 3, T, height, width)``, and in
        2D ``(1, T, 3, height, width)``.
    """
    if isinstance(model.backbone, LCR):
        return clip[:, None]
    clip = clip[:, :3]
    return (clip.transpose(1, 2)
            if isinstance(model, Recognizer2D) else clip[:, None])


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
        crops=args.crops,
        **options)


def segment_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of segments, with defaults filled in."""
    given = {name: getattr(args, name) for name in Settings._fields}
    return Settings()._replace(**{
        name: value
        for name, value in given.items() if value is not None
    })
