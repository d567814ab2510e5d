# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr prepare``."""
import argparse

DESCRIPTION = (
    'Split clips by group, check them, and write lists and class names '
    '(OUT/*.txt), the clips (OUT/videos) and a config (OUT/lcr_NAME.py). '
    'Prints the commands that come next.')
TEST_SHARE = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'source',
        help='folder with a sub-folder of videos for each class, or with a '
        'labels.csv; or a CSV file with the columns path (relative to its '
        'folder) and label, where several labels are written as a|b')
    parser.add_argument('--out', required=True, help='folder to make')
    parser.add_argument(
        '--name', help='name of the config; default: that of OUT')
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--group',
        metavar='COLUMN',
        help='column of the CSV file that names the person or recording; no '
        'group is in training and test at once')
    group.add_argument(
        '--group-pattern',
        metavar='REGEX',
        help="the same from a clip's path, by the first group of the pattern: "
        "'/([a-z]+)_' finds daria in bend/daria_bend.avi")
    parser.add_argument(
        '--folds',
        type=int,
        help='number of folds, with groups in alphabetical order: '
        'OUT/fold{0,1,..}_{train,test,inner_train,inner_val}.txt')
    parser.add_argument(
        '--test-share',
        type=float,
        help='share of the clips for OUT/test.txt, without --folds; default: '
        f'{TEST_SHARE}')
    parser.add_argument(
        '--val-share',
        type=float,
        help='share of the clips for OUT/val.txt, by which a checkpoint is '
        'chosen; default: 0, and the last checkpoint is used')
    parser.add_argument(
        '--seed', type=int, help='seed of the split; default: 0')
    parser.add_argument(
        '--copy',
        action='store_true',
        help='copy the clips instead of linking their folder')
    parser.add_argument(
        '--scan',
        action='store_true',
        help='decode all clips from start to end, as "mmlcr scan" does')
    parser.add_argument(
        '--force',
        action='store_true',
        help='overwrite files of an earlier call that differ')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.folds is not None and (args.test_share, args.val_share) != (None,
                                                                        None):
        parser.error('--folds go without --test-share and --val-share')
    if args.folds is not None and args.folds < 2:
        parser.error(f'--folds must be at least 2, got {args.folds}')
    args.test_share = (
        TEST_SHARE if args.test_share is None else args.test_share)
    args.val_share = args.val_share or 0.
    args.grouped = args.group is not None or args.group_pattern is not None
    if args.seed is not None and args.folds and args.grouped:
        parser.error('--seed: folds are of groups in alphabetical order')
    args.seed = args.seed or 0
    if not (0 < args.test_share and 0 <= args.val_share
            and args.test_share + args.val_share < 1):
        parser.error('shares must be positive and leave something to train '
                     f'on, got {args.test_share:g} and {args.val_share:g}')
