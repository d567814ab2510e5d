# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr compare``."""
import argparse

from ..arguments import add_run_arguments, key_value, positive

DESCRIPTION = (
    'Train and test the model of a config and small models of MMAction2, the '
    'peers, on the same clips over folds and seeds, and tabulate accuracy, '
    'size, work and time. A learning rate is chosen for each model on an '
    'inner split of "mmlcr prepare --folds". Runs that are finished are not '
    'repeated.')
PEERS = 'tsm-mobilenetv2', 'tsm-r18', 'x3d-s', 'slowonly-r18', 'c3d'
RATES = 5e-4, 2e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file of LCR')
    parser.add_argument(
        '--peers',
        nargs='*',
        choices=PEERS,
        default=PEERS,
        metavar='PEER',
        help=f'models to compare with, of {", ".join(PEERS)}; default: all')
    parser.add_argument(
        '--rates',
        type=positive(float),
        nargs='+',
        default=RATES,
        metavar='RATE',
        help='learning rates, of which an inner split chooses one for each '
        f'model; default: {" ".join(f"{rate:g}" for rate in RATES)}')
    parser.add_argument(
        '--rate-folds',
        type=int,
        nargs='+',
        metavar='FOLD',
        help='folds whose inner splits choose the learning rates; default: '
        'the first one of --folds')
    parser.add_argument(
        '--start',
        type=key_value,
        nargs='+',
        action='extend',
        default=[],
        metavar='MODEL=CHECKPOINT',
        help='train this model, "lcr" or a peer, from the backbone of the '
        'checkpoint, too, as a row of its own; a start of the config is one '
        'already')
    parser.add_argument(
        '--write-only',
        action='store_true',
        help='write the configs of the peers, print their paths, and train '
        'nothing')
    add_run_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    args.rate_folds = args.rate_folds or args.folds[:1]
    if args.write_only and args.start:
        parser.error('--start trains, and --write-only does not')
