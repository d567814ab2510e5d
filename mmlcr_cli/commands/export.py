# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr export``."""
import argparse
import os.path as osp

from ..arguments import (
    add_config_arguments,
    add_pipeline_argument,
    positive,
)

DESCRIPTION = (
    'Write a step of a stream as an ONNX graph: frames and state go in, '
    'scores and state come out, for any number of streams. The graph is '
    'checked, and its scores and states are compared with those of PyTorch '
    'step by step.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write, .onnx')
    parser.add_argument(
        '--int8',
        action='store_true',
        help='store weights in eight bits: a smaller file, and slightly other '
        'scores')
    parser.add_argument(
        '--frame-size',
        type=positive(int),
        nargs=2,
        default=(240, 320),
        metavar=('HEIGHT', 'WIDTH'),
        help="size of the source's frames, for a pipeline that keeps their "
        'aspect ratio; default: 240 320')
    add_pipeline_argument(parser)
    parser.add_argument(
        '--steps',
        type=positive(int),
        default=64,
        help='steps that are compared; default: %(default)s')
    add_config_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if osp.splitext(args.out)[1] != '.onnx':
        parser.error(f'the file must be named .onnx, got {args.out}')
