# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr sweep``."""
import argparse

from ..arguments import add_run_arguments

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


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.only and not args.plan:
        parser.error('--only: the variants are those of a --plan')
