# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the features of a list's clips, as the head reads them, to .npy."""
import argparse
import hashlib
import os.path as osp
import sys
from typing import Any, Dict, List, Tuple

from mmengine.utils import track_iter_progress
from torch.utils.data import DataLoader

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import DATASETS
from mmlcr.cli.arguments import add_config_arguments
from mmlcr.cli.launch import load_config
from mmlcr.datasets import ClipError
from mmlcr.engine import UnreadableFileError, atomic_write
from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.features import (
    BAD_CLIPS,
    FeatureFolder,
    Samples,
    clip_features,
    frame_features,
    times_path,
)
from mmlcr.video import SourceError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write what the head reads of each clip of a list, '
        'OUT/PATH_IN_THE_LIST.npy, float32. What is there already is left, so '
        'that a run that was stopped goes on; clips that can not be read are '
        f'listed in OUT/{BAD_CLIPS}, and the tool ends with 1.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--per',
        choices=['clip', 'view', 'frame'],
        default='clip',
        help='clip: (C, ), the mean of the views of the test pipeline; view: '
        '(views, C); frame: (T, C) of a stream with one memory, with the '
        'seconds in PATH.times.npy; default: %(default)s')
    parser.add_argument(
        '--ann-file', help="list of clips; default: the test set's")
    parser.add_argument(
        '--data-prefix', help="folder of the clips; default: the test set's")
    parser.add_argument(
        '--workers', type=int,
        help='processes that read clips, without --per frame; default: 2')
    parser.add_argument('--device', default='cpu')
    add_config_arguments(parser)
    args = parser.parse_args()
    if args.workers is not None and args.per == 'frame':
        parser.error('--workers: a stream is read by one process')
    args.workers = 2 if args.workers is None else args.workers
    if args.workers < 0:
        parser.error(f'--workers must not be negative, got {args.workers}')
    return args


def build(config: Any, args: argparse.Namespace) -> Any:
    """The data set of the list."""
    dataset = {**config.test_dataloader.dataset, 'open_files': False}
    if args.ann_file:
        dataset['ann_file'] = args.ann_file
    if args.data_prefix:
        key, = dataset['data_prefix']
        dataset['data_prefix'] = {key: args.data_prefix}
    return DATASETS.build(dataset)


def files_of(dataset: Any, folder: FeatureFolder) -> List[Tuple[str, str]]:
    """Path of each clip, and the file of its features.

    Raises:
        ValueError: If two clips would have one file.
    """
    prefix = dataset.data_prefix[dataset.prefix_key]
    found, clips = [], {}  # type: ignore[var-annotated]
    for number in range(len(dataset)):
        clip = dataset.get_data_info(number)[dataset.clip_key]
        path = folder.path(osp.relpath(clip, prefix))
        if clips.setdefault(path, clip) != clip:
            raise ValueError(f'{clips[path]} and {clip} would have one file, '
                             f'{path}')
        found.append((clip, path))
    return found


def run(args: argparse.Namespace) -> Dict[str, str]:
    """Why clips could not be read, by their paths."""
    config = load_config(args)
    recognizer = StreamRecognizer(
        config, args.checkpoint, device=args.device, context='free')
    dataset = build(config, args)
    pipeline = 'test_pipeline' if args.per == 'frame' else (
        'test_dataloader.dataset.pipeline')
    steps = config.test_pipeline if args.per == 'frame' else (
        config.test_dataloader.dataset.pipeline)
    folder = FeatureFolder(args.out, {
        'model': recognizer.model_id,
        'per': args.per,
        'data_prefix': osp.realpath(dataset.data_prefix[dataset.prefix_key]),
        pipeline: hashlib.sha256(repr(steps).encode()).hexdigest()[:16]
    })
    files = files_of(dataset, folder)
    left = [number for number, (_, path) in enumerate(files)
            if not osp.exists(path)]
    print(f'{len(files)} clips, {len(files) - len(left)} done before')
    bad: Dict[str, str] = {}
    if args.per == 'frame':
        for number in track_iter_progress(left):
            clip, path = files[number]
            try:
                found = frame_features(recognizer, clip)
            except (SourceError, ValueError) as error:
                bad[clip] = str(error)
                continue
            folder.save(times_path(path), found.seconds)
            folder.save(path, found.features)
        return bad
    loader = DataLoader(
        Samples(dataset, left), batch_size=None, num_workers=args.workers)
    model = recognizer.run_step.model
    for number, sample in track_iter_progress((loader, len(left))):
        clip, path = files[number]
        if isinstance(sample, str):
            bad[clip] = sample
            continue
        features = clip_features(model, sample)
        folder.save(path, features.mean(0) if args.per == 'clip' else features)
    return bad


def main() -> int:
    args = parse_args()
    try:
        bad = run(args)
    except (ClipError, SourceError, UnreadableFileError, ValueError,
            OSError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    lines = [f'{clip}\t{reason}\n' for clip, reason in bad.items()]
    path = osp.join(args.out, BAD_CLIPS)
    if bad or osp.exists(path):
        atomic_write(''.join(lines).encode(), path)
    print(f'\n{args.out}: {len(bad)} clips could not be read' +
          (f', {path}' if bad else ''))
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main())
