# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr scan``."""
import argparse
import os

from ..arguments import add_config_arguments, positive

DESCRIPTION = (
    "Decode all clips of a config's lists in separate processes, both as the "
    'pipeline does and from start to end. Writes the bad ones to a file, a '
    'line with path and reason each; the exit code is 1 if there are any.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=['train', 'val', 'test'],
        choices=['train', 'val', 'test'],
        help='default: all three')
    parser.add_argument(
        '--out', default='bad_clips.txt',
        help='file to write; default: %(default)s')
    parser.add_argument(
        '--jobs',
        type=positive(int),
        default=os.cpu_count(),
        help='clips at a time; default: the number of CPUs')
    parser.add_argument(
        '--seconds',
        type=float,
        default=120,
        help='time limit of a clip; default: %(default)s')
    add_config_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.seconds < 0:
        parser.error(f'--seconds must not be negative, got {args.seconds}')
    args.splits = [*dict.fromkeys(args.splits)]
