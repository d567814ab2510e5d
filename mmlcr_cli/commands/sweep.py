# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr sweep``."""
import argparse

from ..arguments import key_value, positive

DESCRIPTION = (
    'Train and test a config over variants, folds and seeds, and tabulate '
    'top-1 accuracy. Runs that are finished are not repeated.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--plan',
        help='YAML file: name of a variant -> list of key=value settings')
    parser.add_argument(
        '--only', nargs='+', metavar='VARIANT',
        help='run only these variants of the plan')
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`mmlcr.cli.sweep.execute_all` reads."""
    parser.add_argument(
        '--folds', type=int, nargs='+', default=[None], help='folds to run')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0],
        help='seeds to run; default: 0')
    parser.add_argument('--data-root', help='as for "mmlcr train"')
    parser.add_argument(
        '--work-dir', required=True, help='folder of all runs')
    parser.add_argument(
        '--jobs', type=positive(int), default=1,
        help='runs at a time; default: %(default)s')
    parser.add_argument(
        '--threads', type=positive(int), default=1,
        help='threads of each run; default: %(default)s')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        type=key_value,
        metavar='KEY=VALUE',
        help='settings of every run')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.only and not args.plan:
        parser.error('--only: the variants are those of a --plan')
