# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr motion``."""
import argparse

DESCRIPTION = (
    'Render the motion set as MPEG-4 files with lists for MMAction2: '
    'OUT/videos, OUT/{train,val,test}.txt and OUT/classes.txt, and lists with '
    'several labels a clip, OUT/multilabel_*.txt.')
LEAST = dict(size=16, frames=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        '--out', default='data/motion',
        help='folder to make; default: %(default)s')
    parser.add_argument(
        '--clips',
        type=int,
        nargs=3,
        default=(80, 10, 20),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='clips of each of the 12 motions, by split; default: 80 10 20')
    parser.add_argument(
        '--size', type=int, default=64,
        help='side in pixels; default: %(default)s')
    parser.add_argument(
        '--frames', type=int, default=16,
        help='frames of a clip; default: %(default)s')
    parser.add_argument(
        '--seed', type=int, default=0, help='default: %(default)s')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    for name, least in LEAST.items():
        if getattr(args, name) < least:
            parser.error(f'--{name} is too small: {getattr(args, name)}')
    if min(args.clips) < 1:
        parser.error(f'--clips must be positive, got {args.clips}')
