# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr stream-accuracy``."""
import argparse

from ..arguments import (
    add_config_arguments,
    add_segment_arguments,
    given_settings,
    positive,
)

DESCRIPTION = (
    "Join the test clips of a config's video data set into long streams, in "
    'random order, and follow them frame by frame. Prints the accuracy by '
    'frame, and how many frames after a change of action the model is right '
    'again, for each context and for the model on a sliding window.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--streams',
        type=positive(int),
        default=5,
        help='number of streams; default: %(default)s')
    parser.add_argument(
        '--frames',
        type=positive(int),
        default=1000,
        help='source frames of a stream, at least; default: %(default)s')
    parser.add_argument(
        '--seed', type=int, default=0,
        help='seed of the order of clips; default: %(default)s')
    parser.add_argument(
        '--ann-file',
        help='list of the clips instead of that of the test set, in the same '
        'folder')
    parser.add_argument(
        '--segments',
        action='store_true',
        help='evaluate the segments of the streams as well')
    parser.add_argument(
        '--tune',
        action='store_true',
        help='search the segment settings with the highest F1, on clips of '
        'training persons only, by --ann-file')
    parser.add_argument('--out', help='JSON file of the figures')
    add_config_arguments(parser)
    add_segment_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.tune and not args.ann_file:
        parser.error('--tune: without --ann-file, settings would be chosen on '
                     'the clips that judge them')
    given = [*given_settings(args)]
    if args.tune and given == ['background']:
        given = []
    if not args.segments and given:
        parser.error(f'--{" --".join(given)}: without --segments, there are '
                     'none')
