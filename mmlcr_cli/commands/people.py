# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr people``."""
import argparse

from ..arguments import positive

DESCRIPTION = (
    'Render people who move by random programs, the clips of '
    'configs/lcr_people.py, as videos to look at: OUT/PROGRAM_CLIP.mp4. '
    'Training does not need them, as it draws its clips itself.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        '--out', default='data/people',
        help='folder to make; default: %(default)s')
    parser.add_argument(
        '--sheet', metavar='PICTURE',
        help='write one picture instead, with eight frames of each clip in a '
        'row')
    parser.add_argument(
        '--programs', type=positive(int), default=12,
        help='number of motion programs; default: %(default)s')
    parser.add_argument(
        '--clips', type=positive(int), default=2,
        help='clips of each program; default: %(default)s')
    parser.add_argument(
        '--frames', type=positive(int), default=50,
        help='frames of a clip, 25 a second; default: %(default)s')
    parser.add_argument(
        '--size', type=positive(int), nargs=2, default=(160, 128),
        metavar=('WIDTH', 'HEIGHT'), help='in pixels; default: 160 128')
    parser.add_argument(
        '--seed', type=int, default=0,
        help='seed of programs and clips; default: %(default)s')
