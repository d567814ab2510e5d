# Copyright (c) The mmlcr authors. All rights reserved.
"""Write weights and class names of a checkpoint, to be passed on."""
import argparse
import hashlib
import io
import json
import os.path as osp
import sys
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save
from torch import Tensor

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.engine import UnreadableFileError, atomic_write, names_in


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the weights of a checkpoint and the names of its '
        'classes, without optimizer, logs and config, as a .pth file that '
        'torch loads with weights_only=True, or as .safetensors. The name of '
        'the file gets the first eight digits of its SHA-256.')
    parser.add_argument(
        'checkpoint', help='of a training; a file, an address or mmlcr://NAME')
    parser.add_argument(
        'out', help='file to write, .pth or .safetensors')
    args = parser.parse_args()
    if not args.out.endswith(('.pth', '.safetensors')):
        parser.error(f'the file is .pth or .safetensors, got {args.out}')
    return args


def weights_of(checkpoint: Any, path: str) -> Dict[str, Tensor]:
    """What the model is loaded from: of an averaged one its average.

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
    """The file; names are where ``mmlcr.engine.names_in`` finds them."""
    if kind == '.safetensors':
        return save(weights, dict(classes=json.dumps(names)) if names else {})
    data = io.BytesIO()
    meta = dict(dataset_meta=dict(classes=names)) if names else {}
    torch.save(dict(state_dict=weights, meta=meta), data)
    return data.getvalue()


def publish(args: argparse.Namespace) -> None:
    stem, kind = osp.splitext(args.out)
    checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, 'cpu',
                                                  'silent')
    names = names_in(checkpoint, args.checkpoint)
    data = as_bytes(weights_of(checkpoint, args.checkpoint), names, kind)
    path = f'{stem}-{hashlib.sha256(data).hexdigest()[:8]}{kind}'
    atomic_write(data, path)
    print(f'{path}: {len(data) / 2**20:.1f} MiB, '
          f'{len(names) if names else "no"} class names')


def main() -> int:
    args = parse_args()
    try:
        publish(args)
    except (OSError, UnreadableFileError, ValueError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
