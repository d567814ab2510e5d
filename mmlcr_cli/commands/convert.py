# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr convert``."""
import argparse

from ..arguments import add_config_arguments

DESCRIPTION = (
    'Turn a VRWKV6 checkpoint of OpenGVLab/Vision-RWKV (tiny, small or base, '
    'of image classification) into weights for the backbone of a config, '
    'which then computes the features of that model before it is trained. '
    'Prints what became of each tensor.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'config', help='config file, such as configs/lcr_k400.py')
    parser.add_argument('checkpoint', help='checkpoint of the image model')
    parser.add_argument(
        '--out',
        help='file to write; default: the one that the config starts from')
    add_config_arguments(parser)
