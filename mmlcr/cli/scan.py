# Copyright (c) The mmlcr authors. All rights reserved.
"""Decode every clip of a config's lists before a training."""
import argparse
import functools
import os
from typing import Any, Iterator, Optional, Tuple

from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError, check_file, map_isolated
from mmlcr.engine import SampleSeed, atomic_write
from mmlcr.streaming import ImageFolder, Video
from mmlcr.video import SourceError
from .errors import exit_on
from .launch import CONFIG_ERRORS, load_config


def build(config: Any, split: str) -> Any:
    """Build the data set of a split, without its own checks of files."""
    dataset = config[f'{split}_dataloader'].dataset
    return DATASETS.build({
        **dataset, 'check_files': False,
        'open_files': False,
        'bad_clips': 'stop'
    })


def find_fault(dataset: Any, number: int) -> Optional[str]:
    """Return what is wrong with a clip, or None."""
    clip = dataset.get_data_info(number)
    path = clip[dataset.clip_key]
    try:
        check_file(path, path, dataset.trusts_headers)
        dataset.prepare_data(SampleSeed(number, 0, 0), decode_only=True)
        if os.path.isdir(path):
            for _ in ImageFolder(path):
                pass
        else:
            for _ in Video(path):
                pass
    except (ClipError, SourceError) as error:
        return str(error).replace(f'{path}: ', '', 1)
    return None


def scan(dataset: Any, jobs: int,
         seconds: float) -> Iterator[Tuple[int, Optional[str]]]:
    """Yield the number of each clip in order of completion, and its fault."""
    for result in map_isolated(
            functools.partial(find_fault, dataset),
            len(dataset),
            jobs=jobs,
            seconds=seconds):
        yield result.task_id, result.failure or result.value


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> int:
    """Run the command."""
    config = load_config(args)
    init_default_scope(config.get('default_scope', 'mmaction'))
    bad, clips = [], 0
    with Progress(console=Console(stderr=True)) as progress:
        for split in args.splits:
            dataset = build(config, split)
            task = progress.add_task(split, total=len(dataset))
            for number, reason in scan(dataset, args.jobs, args.seconds):
                progress.advance(task)
                clips += 1
                if reason is not None:
                    path = dataset.get_data_info(number)[dataset.clip_key]
                    bad.append(f'{path}\t{reason}\n')
    atomic_write(''.join(bad).encode(), args.out)
    print(f'{len(bad)} of {clips} clips are bad: {args.out}')
    return bool(bad)
