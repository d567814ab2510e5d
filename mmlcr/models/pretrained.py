# Copyright (c) The mmlcr authors. All rights reserved.
"""Loading of pretrained weights."""
from typing import Dict, Optional

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn


def read_weights(path: str, prefix: Optional[str] = None) -> Dict[str, Tensor]:
    """Read the weights of a checkpoint by their names.

    Args:
        path (str): Path or address that MMEngine can load.
        prefix (str, optional): Read only weights whose names start with it,
            and strip it. Defaults to None: read all.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
    """
    weights = CheckpointLoader.load_checkpoint(path, 'cpu')
    weights = weights if isinstance(weights, dict) else {}
    weights = weights.get('state_dict', weights)
    if not prefix:
        return weights
    return {
        name[len(prefix):]: tensor
        for name, tensor in weights.items() if name.startswith(prefix)
    }


def load_pretrained(model: nn.Module,
                    path: str,
                    prefix: Optional[str] = None,
                    hint: str = '',
                    stem_input: str = 'difference') -> None:
    """Load all weights of a model from a checkpoint.

    Where the model's stems read frames and differences, and those of the
    checkpoint only one of the two, the weights of the other are zero, so that
    training starts from what the checkpoint computes.

    Args:
        model (nn.Module): The model.
        path (str): Path or address that MMEngine can load.
        prefix (str, optional): Load only weights whose names start with it,
            and strip it. Defaults to None: load all.
        hint (str): How to create a missing checkpoint, for the error.
            Defaults to ''.
        stem_input (str): What stems that read one image read, ``'frame'`` or
            ``'difference'``. Defaults to ``'difference'``.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If its weights are those of another model.
    """
    try:
        weights = read_weights(path, prefix)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error}, which the config starts from: {hint}from scratch: '
            'model.backbone.init_cfg=None') from None
    weights = widen_stems(weights, model.state_dict(), stem_input)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f'{path} is of another model: {error}') from error


def widen_stems(weights: Dict[str, Tensor], wanted: Dict[str, Tensor],
                stem_input: str) -> Dict[str, Tensor]:
    """Return weights whose stems read frames and differences.

    Args:
        weights (dict[str, Tensor]): Weights of a checkpoint.
        wanted (dict[str, Tensor]): Weights of the model.
        stem_input (str): See :func:`load_pretrained`.
    """
    widened = dict(weights)
    for name, weight in weights.items():
        target = wanted.get(name)
        if target is None or not name.startswith(('stem.', 'edge_stem.')):
            continue
        if weight.ndim == 4 and target.shape[1] == 2 * weight.shape[1]:
            pair = [torch.zeros_like(weight), weight]
            widened[name] = torch.cat(
                pair if stem_input == 'difference' else pair[::-1], 1)
    return widened
