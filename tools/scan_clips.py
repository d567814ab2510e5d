# Copyright (c) The mmlcr authors. All rights reserved.
"""Look at every clip of a config's lists before training does."""
import argparse
import functools
import os
import sys
from typing import Any, Iterator, Optional, Tuple

from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import DATASETS
from mmlcr.cli.arguments import add_config_arguments, positive
from mmlcr.cli.launch import ending_with_errors, load_config
from mmlcr.datasets import ClipError, check_file, map_isolated
from mmlcr.engine import SampleSeed, atomic_write
from mmlcr.streaming import ImageFolder, Video
from mmlcr.video import SourceError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Decode all clips of a config's lists, in processes of "
        'their own: as the pipeline does, and to the end. Writes the bad ones '
        'to a file, a line of path and reason each; ends with 1 if there are '
        'any.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=['train', 'val', 'test'],
        choices=['train', 'val', 'test'])
    parser.add_argument('--out', default='bad_clips.txt', help='file to write')
    parser.add_argument(
        '--jobs',
        type=positive(int),
        default=os.cpu_count(),
        help='clips at a time; default: as many as there are CPUs')
    parser.add_argument(
        '--seconds',
        type=float,
        default=120,
        help='that a clip may take; default: %(default)s')
    add_config_arguments(parser)
    args = parser.parse_args()
    if args.seconds < 0:
        parser.error(f'--seconds must not be negative, got {args.seconds}')
    args.splits = [*dict.fromkeys(args.splits)]
    return args


def build(config: Any, split: str) -> Any:
    """The data set; files are looked for here, one by one, not by itself."""
    dataset = config[f'{split}_dataloader'].dataset
    return DATASETS.build({
        **dataset, 'check_files': False,
        'open_files': False,
        'bad_clips': 'stop'
    })


def look(dataset: Any, number: int) -> Optional[str]:
    """What is wrong with a clip."""
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
    """Number of each clip, as they end, and what is wrong with it."""
    for result in map_isolated(
            functools.partial(look, dataset),
            len(dataset),
            jobs=jobs,
            seconds=seconds):
        yield result.task_id, result.failure or result.value


@ending_with_errors()
def main() -> int:
    args = parse_args()
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


if __name__ == '__main__':
    sys.exit(main())
