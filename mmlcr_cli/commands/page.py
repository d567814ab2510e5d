# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr page``."""
import argparse

from ..arguments import add_stream_arguments, positive

DESCRIPTION = (
    'Serve a web page that recognizes the actions in a clip or in front of a '
    'camera, frame by frame, with edge maps, forget gate and the scores over '
    'time.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    add_stream_arguments(parser)
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; default: %(default)s, which other '
        'machines cannot reach. Browsers open cameras only for pages of the '
        'same machine or over HTTPS')
    parser.add_argument(
        '--port',
        type=positive(int),
        default=7860,
        help='default: %(default)s')
    parser.add_argument(
        '--max-size',
        type=positive(float),
        default=50,
        help='largest clip in MiB; default: %(default)s')
    parser.add_argument(
        '--max-seconds',
        type=positive(float),
        default=60,
        help='longest clip in seconds; default: %(default)s')
