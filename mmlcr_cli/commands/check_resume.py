# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr check-resume``."""
import argparse

from ..arguments import key_value, positive

DESCRIPTION = (
    'Train once, then again with kills (SIGKILL) at random moments, every '
    'other one while a checkpoint is being written, and --resume after each. '
    'Exits with 1 unless all trainings end with the same weights and '
    'optimizer, bit for bit.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'config', help='config file, of a training that takes minutes')
    parser.add_argument(
        '--kills', type=positive(int), default=20,
        help='number of kills; default: %(default)s')
    parser.add_argument(
        '--seed', type=int, default=0,
        help='seed of the trainings and of the moments; default: %(default)s')
    parser.add_argument(
        '--work-dir', default='work_dirs/check_resume',
        help='folder to make; default: %(default)s')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], type=key_value,
        metavar='KEY=VALUE',
        help='settings of all trainings')
