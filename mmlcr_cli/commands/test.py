# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr test``, which are those of MMAction2's own tool."""
import argparse

from ..arguments import add_common_arguments

DESCRIPTION = 'Test a checkpoint.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'config', help='config file, or the name of one that comes with mmlcr')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump', help='write the predictions to this pickle file')
    for name in ('--show', '--show-dir', '--interval', '--wait-time'):
        parser.add_argument(
            name, nargs='?', const=True, help=argparse.SUPPRESS)
    add_common_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.show or args.show_dir or args.interval or args.wait_time:
        parser.error("MMAction2's VisualizationHook cannot draw clips of "
                     'this shape: draw a video with "mmlcr visualize"')
    if args.dump and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump must end in .pkl or .pickle, got {args.dump}')
