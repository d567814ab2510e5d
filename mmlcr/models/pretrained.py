# Copyright (c) The mmlcr authors. All rights reserved.
"""Starting from the weights of a checkpoint."""
from typing import Optional

from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn


def load_pretrained(model: nn.Module,
                    path: str,
                    prefix: Optional[str] = None,
                    hint: str = '') -> None:
    """Load all weights of a model.

    Args:
        model (nn.Module): The model.
        path (str): A checkpoint, as MMEngine names them.
        prefix (str, optional): Only weights whose names start with it count,
            without it. Defaults to None: all.
        hint (str): How to make a missing checkpoint. Defaults to ''.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it is of another model.
    """
    try:
        weights = CheckpointLoader.load_checkpoint(path, 'cpu')
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error}, which the config starts from: {hint}from scratch: '
            'model.backbone.init_cfg=None') from None
    weights = weights if isinstance(weights, dict) else {}
    weights = weights.get('state_dict', weights)
    if prefix:
        weights = {
            name[len(prefix):]: tensor
            for name, tensor in weights.items() if name.startswith(prefix)
        }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f'{path} is of another model: {error}') from error
