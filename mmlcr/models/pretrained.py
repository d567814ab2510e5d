# Copyright (c) The mmlcr authors. All rights reserved.
"""Loading of pretrained weights."""
from typing import Dict, Optional

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
                    hint: str = '') -> None:
    """Load all weights of a model from a checkpoint.

    Args:
        model (nn.Module): The model.
        path (str): Path or address that MMEngine can load.
        prefix (str, optional): Load only weights whose names start with it,
            and strip it. Defaults to None: load all.
        hint (str): How to create a missing checkpoint, for the error.
            Defaults to ''.

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
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f'{path} is of another model: {error}') from error
