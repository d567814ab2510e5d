# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the weights and class names of a checkpoint, to publish them."""
import argparse
import hashlib
import io
import json
import os.path as osp
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save
from torch import Tensor

from mmlcr.engine import atomic_write, names_in
from .errors import INPUT_ERRORS, exit_on


def weights_of(checkpoint: Any, path: str) -> Dict[str, Tensor]:
    """Return the state dict: of an averaged model, its average.

    Raises:
        ValueError: If there are no weights.
    """
    weights = checkpoint.get('state_dict') if isinstance(
        checkpoint, dict) else None
    if not weights:
        raise ValueError(f'{path}: a checkpoint without a state_dict')
    return {
        name: tensor.detach().clone().contiguous()
        for name, tensor in weights.items()
    }


def as_bytes(weights: Dict[str, Tensor], names: Optional[Tuple[str, ...]],
             kind: str) -> bytes:
    """Serialize weights, and names where ``mmlcr.engine.names_in`` looks."""
    if kind == '.safetensors':
        return save(weights, dict(classes=json.dumps(names)) if names else {})
    data = io.BytesIO()
    meta = dict(dataset_meta=dict(classes=names)) if names else {}
    torch.save(dict(state_dict=weights, meta=meta), data)
    return data.getvalue()


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    stem, kind = osp.splitext(args.out)
    checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, 'cpu',
                                                  'silent')
    names = names_in(checkpoint, args.checkpoint)
    data = as_bytes(weights_of(checkpoint, args.checkpoint), names, kind)
    path = f'{stem}-{hashlib.sha256(data).hexdigest()[:8]}{kind}'
    atomic_write(data, path)
    print(f'{path}: {len(data) / 2**20:.1f} MiB, '
          f'{len(names) if names else "no"} class names')
