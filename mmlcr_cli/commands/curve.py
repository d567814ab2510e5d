# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr curve``."""
import argparse
import re
from typing import Optional, Tuple

from ..arguments import add_run_arguments, positive

DESCRIPTION = (
    'Train a config on the clips of few and of more people (groups), for few '
    'and for more steps, and tabulate and plot top-1 accuracy on the whole '
    'test list. Runs that are finished are not repeated.')
SCRATCH = 'scratch'


def start(text: str) -> Tuple[str, Optional[str]]:
    """Argument type: ``NAME=CHECKPOINT``, or ``scratch``."""
    name, _, checkpoint = text.partition('=')
    if text == SCRATCH:
        return text, None
    if name == SCRATCH or not (re.fullmatch(r'\w+', name) and checkpoint):
        raise argparse.ArgumentTypeError(
            f'neither {SCRATCH} nor NAME=CHECKPOINT, where NAME has letters, '
            f'digits and _ only: {text!r}')
    return name, checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--groups',
        type=positive(int),
        nargs='+',
        required=True,
        metavar='NUMBER',
        help='numbers of groups in training')
    parser.add_argument(
        '--group-pattern',
        required=True,
        metavar='REGEX',
        help='finds the group in the path of a clip, as in "mmlcr prepare": '
        "'/([a-z]+)_' finds daria in bend/daria_bend.avi")
    parser.add_argument(
        '--steps',
        type=positive(int),
        nargs='+',
        required=True,
        metavar='NUMBER',
        help='numbers of steps of the optimizer, each rounded up to whole '
        'epochs; the table says where that changes one')
    parser.add_argument(
        '--product',
        action='store_true',
        help='run each number of groups with each number of steps; default: '
        'each number of groups with the most steps, and all groups with each '
        'number of steps')
    parser.add_argument(
        '--starts',
        type=start,
        nargs='+',
        default=[(SCRATCH, None)],
        metavar='NAME=CHECKPOINT',
        help=f'what the backbone starts from; {SCRATCH} for random weights, '
        f'whatever the config starts from; default: {SCRATCH}')
    add_run_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    names = [name for name, _ in args.starts]
    if len({*names}) < len(names):
        parser.error(f'--starts: a name occurs twice: {" ".join(names)}')
