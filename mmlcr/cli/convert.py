# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn a published Vision-RWKV (VRWKV6) image model into weights of LCR."""
import argparse
import io
import os
import re
import sys
from typing import Dict, List, NamedTuple, Tuple

import torch
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.registry import MODELS
from mmlcr.engine import UnreadableFileError, atomic_write, read_checkpoint
from mmlcr.layers import VRWKV6Layer, resize_position
from mmlcr.models import LCR
from .errors import exit_on
from .launch import CONFIG_ERRORS, load_config

# name there, name here, and whether a matrix is transposed
STEM = (
    ('patch_embed.projection.weight', 'stem.projection.weight', False),
    ('patch_embed.projection.bias', 'stem.projection.bias', False),
    ('layers.0.ln0.weight', 'norm_0.weight', False),
    ('layers.0.ln0.bias', 'norm_0.bias', False),
    ('ln1.weight', 'norm_out.weight', False),
    ('ln1.bias', 'norm_out.bias', False),
)
LAYER = (
    ('ln1.weight', 'norm_x.weight', False),
    ('ln1.bias', 'norm_x.bias', False),
    ('att.time_maa_x', 'mu_base', False),
    ('att.time_maa_w1', 'mix_down.weight', True),
    ('att.time_maa_w2', 'mix_up', False),
    ('att.time_decay', 'decay', False),
    ('att.time_decay_w1', 'decay_down.weight', True),
    ('att.time_decay_w2', 'decay_up.weight', True),
    ('att.time_faaaa', 'bonus', False),
    ('att.key.weight', 'key.weight', False),
    ('att.value.weight', 'value.weight', False),
    ('att.receptance.weight', 'receptance.weight', False),
    ('att.gate.weight', 'gate.weight', False),
    ('att.ln_x.weight', 'norm_y.weight', False),
    ('att.ln_x.bias', 'norm_y.bias', False),
    ('att.output.weight', 'output.weight', False),
    ('gamma1', 'scale_x', False),
    ('ln2.weight', 'norm_a.weight', False),
    ('ln2.bias', 'norm_a.bias', False),
    ('ffn.receptance.weight', 'channel_receptance.weight', False),
    ('ffn.key.weight', 'channel_key.weight', False),
    ('ffn.value.weight', 'channel_value.weight', False),
    ('gamma2', 'scale_a', False),
)
# rows of ``mu``, in the order of mmlcr.layers.vrwkv6.BRANCHES
MIXES = tuple(f'att.time_maa_{branch}' for branch in 'wkvrg')
# weights of the token itself there, of its neighbours here
SHARES = (('ffn.spatial_mix_r', 'mu_receptance'), ('ffn.spatial_mix_k',
                                                   'mu_key'))
# weights of the image classifier, which features do not need
KNOWN_LEFT_OVER = re.compile(r'(head|neck)\.')


class Report(NamedTuple):
    """Names of the tensors, by what became of them."""
    taken: List[str]
    resized: List[str]
    new: List[str]
    left_over: List[str]


def read_weights(path: str) -> Tuple[Dict[str, Tensor], List[str]]:
    """Read the weights of the image model's backbone.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The weights, without the prefix
        ``backbone.``, and the names of all other tensors.

    Raises:
        ValueError: If there are no weights of a VRWKV6 model.
    """
    checkpoint = read_checkpoint(path, 'cpu')
    weights = checkpoint if isinstance(checkpoint, dict) else {}
    weights = weights.get('state_dict', weights)
    found = {
        name[len('backbone.'):]: tensor
        for name, tensor in weights.items() if name.startswith('backbone.')
    }
    others = [name for name in weights if not name.startswith('backbone.')]
    if 'layers.0.att.time_maa_w1' not in found:
        raise ValueError(
            'no weights of a VRWKV6 model, such as '
            'backbone.layers.0.att.time_maa_w1; first names: '
            f'{", ".join([*weights][:5]) or "none"}')
    return found, others


def convert(weights: Dict[str, Tensor],
            model: LCR) -> Tuple[Dict[str, Tensor], Report]:
    """Fill an LCR with the weights of the image model.

    Args:
        weights (dict[str, Tensor]): Backbone of the image model; the tensors
            that are used are removed.
        model (LCR): Model with Vision-RWKV's layers, whose initial values
            stay where the image model has no weights.

    Returns:
        tuple[dict[str, Tensor], Report]: State dict, and what became of each
        tensor.

    Raises:
        ValueError: If the model has other layers or another shape, or a
            tensor is missing.
    """
    if not isinstance(model.layers[0], VRWKV6Layer):
        raise ValueError("the config's backbone has no layer=dict("
                         "type='VRWKV6Layer'), whose layers are those of "
                         'Vision-RWKV')
    if model.rotary or model.stem_input != 'frame':
        raise ValueError(
            'the image model has neither rotary position nor differences: '
            "the config needs rotary=False and stem_input='frame', and has "
            f'rotary={model.rotary} and stem_input={model.stem_input!r}')
    if model.layers[0].post_norm != (model.layers[0].scale_x is not None):
        raise ValueError('the image models have norms after their branches '
                         'and LayerScale, or neither: the config needs both '
                         'post_norm=True and a layer_scale of its layer, or '
                         'neither')
    depth = 1 + max(
        int(name.split('.')[1]) for name in weights
        if name.startswith('layers.'))
    if depth != len(model.layers):
        raise ValueError(f'the checkpoint has {depth} layers, and the config '
                         f'{len(model.layers)}')
    state, report = model.state_dict(), Report([], [], [], [])
    known = {*state}

    def take(name: str) -> Tensor:
        if name not in weights:
            raise ValueError(f'the checkpoint has no backbone.{name}')
        report.taken.append(name)
        return weights.pop(name)

    def put(name: str, tensor: Tensor) -> None:
        expected = state[name].shape
        if tensor.shape == (1, 1, *expected):  # the form of vectors there
            tensor = tensor[0, 0]
        if tensor.shape != expected:
            raise ValueError(f'{name} is {tuple(tensor.shape)} in the '
                             f'checkpoint, and {tuple(expected)} in the '
                             'config')
        state[name] = tensor.to(state[name].dtype).clone()
        known.discard(name)

    for theirs, ours, turned in STEM:
        tensor = take(theirs)
        put(ours, tensor.mT if turned else tensor)
    for i in range(depth):
        theirs, ours = f'layers.{i}.', f'layers.{i}.'
        for name, target, turned in LAYER:
            if target.startswith('scale') and ours + target not in state:
                continue  # a model without LayerScale: left over, if there
            tensor = take(theirs + name)
            put(ours + target, tensor.mT if turned else tensor)
        put(f'{ours}mu',
            torch.stack([take(theirs + mix).flatten() for mix in MIXES]))
        for name, target in SHARES:
            put(ours + target, 1 - take(theirs + name).float())
    put_position(take('pos_embed'), state, report)
    known.discard('position')
    report.new.extend(sorted(known))
    return state, report


def put_position(position: Tensor, state: Dict[str, Tensor],
                 report: Report) -> None:
    """Resize the learned position ``(1, rows * cols, D)`` to our grid.

    Raises:
        ValueError: If the config has none.
    """
    if 'position' not in state:
        raise ValueError('the config has no position_grid')
    side = round(position.shape[1]**0.5)
    if side**2 != position.shape[1]:
        raise ValueError(f'pos_embed has {position.shape[1]} patches, which '
                         'is no square number')
    grid = position.mT.unflatten(-1, (side, side))
    rows, cols = state['position'].shape[-2:]
    if (rows, cols) != (side, side):
        report.taken.remove('pos_embed')
        report.resized.append(
            f'pos_embed ({side}x{side} to {rows}x{cols})')
    state['position'] = resize_position(grid.float(), (rows, cols)).clone()


def print_report(report: Report) -> None:
    """Print all names, those of the layers once."""
    for kind, names in report._asdict().items():
        print(f'{len(names)} {kind.replace("_", " ")}:')
        layers: Dict[str, List[int]] = {}
        for name in names:
            found = re.fullmatch(r'(.*layers\.)(\d+)(\..*)', name)
            key = f'{found[1]}*{found[3]}' if found else name
            layers.setdefault(key, []).append(int(found[2]) if found else 0)
        for key, numbers in layers.items():
            times = f'  (x {len(numbers)})' if '*' in key else ''
            print(f'  {key}{times}')


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    config = load_config(args)
    init_default_scope(config.get('default_scope', 'mmaction'))
    backbone = config.model.backbone
    start = backbone.pop('init_cfg', None) or {}
    out = args.out or start.get('checkpoint')
    if not out:
        sys.exit('--out: the config starts from no checkpoint')
    torch.manual_seed(0)  # new weights are drawn
    try:
        weights, others = read_weights(args.checkpoint)
        model = MODELS.build(backbone)
        model.init_weights()
        state, report = convert(weights, model)
    except (OSError, UnreadableFileError) as error:
        sys.exit(str(error))
    except ValueError as error:
        sys.exit(f'{args.config} and {args.checkpoint}: {error}')
    report.left_over.extend([f'backbone.{name}' for name in weights] + others)
    print_report(report)
    unknown = [
        name for name in report.left_over if not KNOWN_LEFT_OVER.match(name)
    ]
    if unknown:
        sys.exit(f'{args.checkpoint}: no weight of LCR corresponds to '
                 f'{", ".join(unknown)}')
    data = io.BytesIO()
    torch.save(
        dict(
            state_dict={f'backbone.{name}': t for name, t in state.items()},
            meta={}), data)
    atomic_write(data.getvalue(), out)
    print(f'{out}: {os.path.getsize(out) / 2**20:.1f} MiB')
