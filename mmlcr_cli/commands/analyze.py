# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr analyze``."""
import argparse

from ..arguments import add_config_arguments

DESCRIPTION = ('Analyse the log of a training, or the predictions that "mmlcr '
               'test --dump" wrote.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    analyses = parser.add_subparsers(
        required=True, metavar='ANALYSIS', dest='analysis')
    curves = analyses.add_parser(
        'curves', help='loss, learning rate, gradient norm and accuracy')
    curves.add_argument(
        'paths', nargs='+', metavar='LOG_OR_WORK_DIR',
        help='work dirs, or their */vis_data/scalars.json; several are drawn '
        'over each other')
    curves.add_argument(
        '--out', default='curves.png',
        help='picture to write; default: %(default)s')
    confusion = add_dump_parser(
        analyses, 'confusion', 'which classes are mistaken for which')
    confusion.add_argument(
        '--out', default='confusion.png',
        help='picture to write; default: %(default)s')
    add_num_argument(confusion, 'pairs of classes')
    classes = add_dump_parser(
        analyses, 'classes', 'accuracy of each class, the lowest first; '
        'average precision where clips have several labels')
    classes.add_argument('--out', help='picture to write')
    classes.add_argument('--csv', help='table to write')
    worst = add_dump_parser(
        analyses, 'worst', 'clips with the highest losses')
    worst.add_argument('--out', help='picture to write')
    add_num_argument(worst, 'clips')


def add_dump_parser(analyses: 'argparse._SubParsersAction', name: str,
                    summary: str) -> argparse.ArgumentParser:
    """Add an analysis of predictions."""
    parser = analyses.add_parser(name, help=summary)
    parser.add_argument('config', help='config file')
    parser.add_argument('dump', help='predictions of "mmlcr test --dump"')
    add_config_arguments(parser)
    return parser


def add_num_argument(parser: argparse.ArgumentParser, items: str) -> None:
    """Add ``--num``."""
    parser.add_argument(
        '--num', type=int, default=20,
        help=f'number of {items} that are printed; default: %(default)s')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if getattr(args, 'num', 1) < 1:
        parser.error(f'--num must be positive, got {args.num}')
