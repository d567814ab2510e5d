# Copyright (c) The mmlcr authors. All rights reserved.
"""Small models of MMAction2 on the clips of an LCR config.

A peer's config is built on that of LCR, and changes the model and what the
pipelines do for LCR alone: edge maps, tube masks and the format of a clip.
Clips, sampling, crops, colours, flips, batches, optimizer, schedule and steps
are those of LCR. All weights are random.
"""
import os.path as osp
from typing import Any, Dict, Tuple

from mmlcr.datasets.pipelines import find_steps
from mmlcr_cli.commands.compare import PEERS

# backbone and head of each peer, with the settings of MMAction2's configs
MODELS: Dict[str, Tuple[dict, dict]] = {
    'tsm-mobilenetv2':
    (dict(type='MobileNetV2TSM', shift_div=8, pretrained2d=False),
     dict(type='TSMHead', in_channels=1280, dropout_ratio=0.5)),
    'tsm-r18':
    (dict(type='ResNetTSM', depth=18, shift_div=8, pretrained2d=False),
     dict(type='TSMHead', in_channels=512, dropout_ratio=0.5)),
    'x3d-s': (dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=2.2),
              dict(type='X3DHead', in_channels=432, dropout_ratio=0.5)),
    'slowonly-r18': (dict(
        type='ResNet3dSlowOnly',
        depth=18,
        conv1_kernel=(1, 7, 7),
        conv1_stride_t=1,
        pool1_stride_t=1,
        inflate=(0, 0, 1, 1),
        with_pool2=False), dict(
            type='I3DHead', in_channels=512, dropout_ratio=0.5)),
    'c3d': (dict(type='C3DSmall'),
            dict(type='I3DHead', in_channels=128, dropout_ratio=0.5)),
}
OF_HEAD = 'num_classes', 'label_smooth_eps', 'topk', 'loss_cls'  # of LCR's
OF_LCR = 'EdgeMap', 'TubeMask'  # steps of a pipeline
MASK = 'tube_mask'  # key of PackActionInputs
PARTS = 'train', 'val', 'test'


def peer_settings(config: Any, name: str) -> Dict[str, Any]:
    """Return what a peer's config changes of that of LCR.

    Args:
        config (dict): Config of LCR, or the ``_base_`` of a config file.
        name (str): One of ``PEERS``.

    Returns:
        dict: The model, all pipelines and all data loaders, by their keys in
        the config.

    Raises:
        ValueError: If there is no such peer, or clips have several labels.
    """
    if name not in PEERS:
        raise ValueError(f'there is no model {name!r}, there are '
                         f'{", ".join(PEERS)}')
    model = peer_model(config, name)
    form = model['data_preprocessor']['format_shape']
    return dict(
        model=model,
        **{
            key: without_lcr(config[key], form)
            for key in loading_keys(config)
        })


def peer_model(config: Any, name: str) -> dict:
    """Return the model of a peer for the clips of a config."""
    backbone, head = ({**part} for part in MODELS[name])
    theirs = config['model']['cls_head']
    if theirs.get('multi_class'):
        raise ValueError('peers are compared by top-1, and these clips have '
                         'several labels')
    is_2d = head['type'] == 'TSMHead'
    if is_2d:
        backbone['num_segments'] = head['num_segments'] = clip_len(config)
    head.update({key: theirs[key] for key in OF_HEAD if key in theirs})
    head['average_clips'] = theirs.get('average_clips', 'prob')
    preprocessor = dict(
        config['model']['data_preprocessor'],
        type='ActionDataPreprocessor',
        format_shape='NCHW' if is_2d else 'NCTHW')
    for key in 'mean', 'std':  # of RGB, without the edge map
        if preprocessor.get(key) is not None:
            preprocessor[key] = preprocessor[key][:3]
    return dict(
        type='Recognizer2D' if is_2d else 'Recognizer3D',
        backbone=backbone,
        cls_head=head,
        data_preprocessor=preprocessor)


def clip_len(config: Any) -> int:
    """Return the number of frames of a training clip."""
    return next(step['clip_len']
                for step in find_steps(config['train_dataloader'])
                if 'clip_len' in step)


def loading_keys(config: Any) -> Tuple[str, ...]:
    """Return the keys of a config that hold pipelines."""
    keys = (f'{part}_{kind}' for part in PARTS
            for kind in ('pipeline', 'dataloader'))
    return tuple(key for key in keys if config.get(key))


def without_lcr(value: Any, form: str) -> Any:
    """Copy a pipeline, or what holds some, without what is for LCR alone.

    Args:
        value (Any): A part of a config.
        form (str): Format of the clips, ``'NCHW'`` or ``'NCTHW'``.
    """
    if isinstance(value, dict):
        value = {key: without_lcr(inner, form) for key, inner in value.items()}
        if value.get('type') == 'FormatShape':
            value['input_format'] = form
        if value.get('type') == 'PackActionInputs':
            keys = value.pop('algorithm_keys', ())
            left = tuple(key for key in keys if key != MASK)
            value.update(dict(algorithm_keys=left) if left else {})
    elif isinstance(value, (list, tuple)):
        value = type(value)(
            without_lcr(inner, form) for inner in value
            if not (isinstance(inner, dict) and inner.get('type') in OF_LCR))
    return value


# --- config files


def peer_text(config: Any, path: str, name: str) -> str:
    """Write the config of a peer.

    It is built on that of LCR, so that it reads the same variables, and
    ``--fold`` and ``--cfg-options`` have the same effect.

    Args:
        config (dict): Config of LCR.
        path (str): Its file.
        name (str): One of ``PEERS``.
    """
    lines = []
    for key in ('model', *loading_keys(config)):
        value = f'peer[{key!r}]'
        if isinstance(config[key], dict):
            value = f'dict({value}, _delete_=True)'
        lines.append(f'{key} = {value}')
    return '\n'.join([
        f'# Written by "mmlcr compare": {name} on the clips of '
        f'{osp.basename(path)}.', f'_base_ = {path!r}', '',
        f"peer = __import__('{__name__}', fromlist=['']).peer_settings(",
        f'    _base_, {name!r})', *lines, 'del peer', ''
    ])


def start_text(path: str, weights: str) -> str:
    """Write a config that starts from some weights.

    Args:
        path (str): Config to build on.
        weights (str): Checkpoint, with the weights to start from alone.
    """
    return '\n'.join([
        '# Written by "mmlcr compare": starts from a trained backbone.',
        f'_base_ = {path!r}', '', f'load_from = {weights!r}', ''
    ])


def inner_text(path: str) -> str:
    """Write a config of the inner split, which has no clips of the test.

    Args:
        path (str): Config to build on.
    """
    return '\n'.join([
        '# Written by "mmlcr compare": the inner split, to choose a rate by.',
        f'_base_ = {path!r}', '',
        f"inner = __import__('{__name__}', fromlist=['']).inner_lists(_base_)",
        *(f"{part}_dataloader = dict(dataset=dict(ann_file=inner['{list_}']))"
          for part, list_ in zip(PARTS, ('train', 'val', 'val'))), ''
    ])


def inner_lists(config: Any) -> Dict[str, str]:
    """Return the lists of the inner split that ``mmlcr prepare`` wrote.

    Args:
        config (dict): Config with the list ``PREFIXtrain.txt`` for training.

    Returns:
        dict[str, str]: ``PREFIXinner_train.txt`` and ``PREFIXinner_val.txt``.

    Raises:
        ValueError: If its training has another kind of list, or none.
    """
    path = str(config['train_dataloader']['dataset'].get('ann_file'))
    prefix = path[:-len('train.txt')]
    if prefix + 'train.txt' != path:
        raise ValueError('there is no inner split of the training list '
                         f'{path}, to choose learning rates by: give one of '
                         '--rates')
    return {part: f'{prefix}inner_{part}.txt' for part in ('train', 'val')}
