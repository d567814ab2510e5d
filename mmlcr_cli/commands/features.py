# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr features``."""
import argparse

from ..arguments import add_config_arguments

DESCRIPTION = (
    'Write the features that the head reads of each clip of a list to '
    'OUT/PATH_IN_THE_LIST.npy, float32. Files that exist are kept, so that a '
    'stopped run continues. Clips that cannot be read are listed in '
    'OUT/bad_clips.txt, and the exit code is then 1.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--per',
        choices=['clip', 'view', 'frame'],
        default='clip',
        help='clip: (C,), the mean over the views of the test pipeline; view: '
        '(views, C); frame: (T, C) of a stream with one memory, with the '
        'seconds in PATH.times.npy; default: %(default)s')
    parser.add_argument(
        '--ann-file', help='list of clips; default: that of the test set')
    parser.add_argument(
        '--data-prefix',
        help='folder of the clips; default: that of the test set')
    parser.add_argument(
        '--workers', type=int,
        help='processes that read clips, without --per frame; default: 2')
    parser.add_argument(
        '--device', default='cpu', help='default: %(default)s')
    add_config_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.workers is not None and args.per == 'frame':
        parser.error('--workers: a stream is read by one process')
    args.workers = 2 if args.workers is None else args.workers
    if args.workers < 0:
        parser.error(f'--workers must not be negative, got {args.workers}')
