# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr visualize``."""
import argparse

from ..arguments import add_stream_arguments, positive

DESCRIPTION = (
    'Classify a clip, and draw its frames and edge maps, a tube mask as in '
    'training, the forget gate, the norms of hidden state and cell, Grad-CAM '
    'and the class scores over time.')
ROWS = 'frame', 'edges', 'tube', 'gate', 'hidden', 'cell', 'cam'
MODEL_ROWS = ROWS[3:]  # these need the layers, which an ONNX graph hides
COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    add_stream_arguments(parser)
    parser.add_argument('video', help='video file, or folder of images')
    parser.add_argument('--out', help='picture to write')
    parser.add_argument(
        '--video', dest='film', metavar='VIDEO',
        help='video to write, .mp4 or .avi')
    parser.add_argument(
        '--rows', nargs='+', choices=ROWS,
        help='what is drawn; default: everything that the model provides')
    parser.add_argument(
        '--layer', type=int,
        help='layer, from zero, of gate, states and Grad-CAM; default: the '
        'mean of all layers, and the last one for Grad-CAM')
    parser.add_argument(
        '--cam', metavar='CLASS',
        help='name or number of the class that Grad-CAM explains; default: '
        'the one with the highest score')
    parser.add_argument(
        '--columns', type=positive(int),
        help=f'frames in the picture; default: {COLUMNS}')
    parser.add_argument(
        '--frames', type=positive(int), default=256,
        help='frames that the model sees at most; default: %(default)s')
    parser.add_argument(
        '--topk', type=positive(int), default=5,
        help='classes shown; default: %(default)s')
    parser.add_argument(
        '--seed', type=int, help='seed of the tube mask; default: 0')
    parser.add_argument(
        '--source-fps', type=float,
        help='frame rate of a folder, or of a video instead of its own')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    drawn = [f'--{name}' for name in ('rows', 'layer', 'cam', 'seed')
             if getattr(args, name) is not None]
    if drawn and not args.out and not args.film:
        parser.error(f'{" ".join(drawn)}: nothing is drawn without --out or '
                     '--video')
    for name, rows in (('layer', MODEL_ROWS), ('cam', ['cam']),
                       ('seed', ['tube'])):
        if args.rows and getattr(args, name) is not None and not (
                {*rows} & {*args.rows}):
            parser.error(f'--{name} is of the rows {", ".join(rows)}')
    if args.columns is not None and not args.out:
        parser.error('--columns: there is no picture without --out')
    args.columns = args.columns or COLUMNS
