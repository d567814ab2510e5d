# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the features of a list's clips, the input of the head, to .npy."""
import argparse
import hashlib
import os.path as osp
from typing import Any, Dict, List, Tuple

from mmengine.utils import track_iter_progress
from torch.utils.data import DataLoader

from mmaction.registry import DATASETS
from mmlcr.engine import atomic_write
from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.features import (
    BAD_CLIPS,
    FeatureFolder,
    Samples,
    clip_features,
    frame_features,
    times_path,
)
from mmlcr.streaming.step import TorchStep
from mmlcr.video import SourceError
from .errors import INPUT_ERRORS, exit_on
from .launch import load_config


def build(config: Any, args: argparse.Namespace) -> Any:
    """Build the data set of the list."""
    dataset = {**config.test_dataloader.dataset, 'open_files': False}
    if args.ann_file:
        dataset['ann_file'] = args.ann_file
    if args.data_prefix:
        key, = dataset['data_prefix']
        dataset['data_prefix'] = {key: args.data_prefix}
    return DATASETS.build(dataset)


def feature_files(dataset: Any,
                  folder: FeatureFolder) -> List[Tuple[str, str]]:
    """Return the path of each clip and the file of its features.

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


def extract(args: argparse.Namespace) -> Dict[str, str]:
    """Write all features.

    Returns:
        dict[str, str]: Paths of the clips that could not be read, and why.
    """
    config = load_config(args)
    recognizer = StreamRecognizer(
        config,
        args.checkpoint,
        device=args.device,
        context='free',
        crops='all')
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
    files = feature_files(dataset, folder)
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
    assert isinstance(recognizer.run_step, TorchStep)
    model = recognizer.run_step.model
    for number, sample in track_iter_progress((loader, len(left))):
        clip, path = files[number]
        if isinstance(sample, str):
            bad[clip] = sample
            continue
        features = clip_features(model, sample)
        folder.save(path, features.mean(0) if args.per == 'clip' else features)
    return bad


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> bool:
    """Run the command."""
    bad = extract(args)
    lines = [f'{clip}\t{reason}\n' for clip, reason in bad.items()]
    path = osp.join(args.out, BAD_CLIPS)
    if bad or osp.exists(path):
        atomic_write(''.join(lines).encode(), path)
    print(f'\n{args.out}: {len(bad)} clips could not be read' +
          (f', {path}' if bad else ''))
    return bool(bad)
