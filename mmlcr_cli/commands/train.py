# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr train``, which are those of MMAction2's own tool."""
import argparse

from ..arguments import add_common_arguments

DESCRIPTION = 'Train a recognizer.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'config', help='config file, or the name of one that comes with mmlcr')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a value, from the latest '
        'in the work dir')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate checkpoints during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over that of the '
        'config')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        help='give every process another seed')
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='use deterministic CUDA algorithms')
    add_common_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.diff_rank_seed and args.launcher == 'none':
        parser.error('--diff-rank-seed: there is one process without '
                     '--launcher')
