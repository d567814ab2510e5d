# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr publish``."""
import argparse

DESCRIPTION = (
    'Write the weights of a checkpoint and the names of its classes, without '
    'optimizer, logs and config, as a .pth file that torch loads with '
    'weights_only=True, or as .safetensors. The first eight digits of the '
    "file's SHA-256 are added to its name.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        'checkpoint',
        help='checkpoint of a training: a file, an address or mmlcr://NAME')
    parser.add_argument('out', help='file to write, .pth or .safetensors')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if not args.out.endswith(('.pth', '.safetensors')):
        parser.error(f'the file is .pth or .safetensors, got {args.out}')
