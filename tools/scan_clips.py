# Copyright (c) The mmlcr authors. All rights reserved.
"""Look at every clip of a config's lists before training does."""
import argparse
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection, wait
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

import cv2
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import DATASETS
from mmlcr.apis import SourceError, Video, add_config_arguments, load_config
from mmlcr.datasets import ClipError, check_file
from mmlcr.engine import Draw, write_whole

LOOK = 0.2  # seconds between two looks at the clock


class Job(NamedTuple):
    """A clip in a process of its own, in which a decoder may crash."""
    process: Any
    number: int
    since: float


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
        type=int,
        default=os.cpu_count(),
        help='clips at a time; default: as many as there are CPUs')
    parser.add_argument(
        '--seconds',
        type=float,
        default=120,
        help='that a clip may take; default: %(default)s')
    add_config_arguments(parser)
    return parser.parse_args()


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
        check_file(path, path)
        dataset.prepare_data(Draw(number, 0, 0), decode_only=True)
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                if cv2.imread(os.path.join(path, name)) is None:
                    return f'{name} is not an image that can be read'
        else:
            for _ in Video(path, None):
                pass
    except (ClipError, SourceError) as error:
        return str(error).replace(f'{path}: ', '', 1)
    return None


def work(dataset: Any, pipe: Connection) -> None:
    """Look at the clips that are named, until none is."""
    while True:
        number = pipe.recv()
        if number is None:
            return
        pipe.send(look(dataset, number))


def scan(dataset: Any, jobs: int,
         seconds: float) -> Iterator[Tuple[int, Optional[str]]]:
    """Number of each clip, as they end, and what is wrong with it."""
    left = iter(range(len(dataset)))
    busy: Dict[Connection, Job] = {}

    def begin(process: Any = None, pipe: Any = None) -> None:
        number = next(left, None)
        if number is None:
            if process is not None:
                pipe.send(None)
            return
        if process is None:
            pipe, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(
                target=work, args=(dataset, theirs), daemon=True)
            process.start()
            theirs.close()
        pipe.send(number)
        busy[pipe] = Job(process, number, time.monotonic())

    for _ in range(max(1, jobs)):
        begin()
    while busy:
        for pipe in wait([*busy], LOOK):
            process, number, _ = busy.pop(pipe)
            try:
                yield number, pipe.recv()
            except EOFError:
                process.join()
                yield number, ('a decoder crashed, exit code '
                               f'{process.exitcode}')
                begin()
            else:
                begin(process, pipe)
        for pipe, job in [*busy.items()]:
            if time.monotonic() - job.since > seconds:
                del busy[pipe]
                job.process.kill()
                yield job.number, f'took more than {seconds:g} seconds'
                begin()


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
    write_whole(''.join(bad).encode(), args.out)
    print(f'{len(bad)} of {clips} clips are bad: {args.out}')
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main())
