# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr stream``."""
import argparse

from ..arguments import (
    add_segment_arguments,
    add_stream_arguments,
    given_settings,
)

DESCRIPTION = (
    'Recognize actions in a stream, frame by frame. Writes a line of JSON for '
    'each frame that the model sees, to standard output unless --out names a '
    'file. Ctrl-C ends it.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    add_stream_arguments(parser)
    parser.add_argument(
        'source',
        help='video file, number of a camera, address (rtsp://, http://), or '
        'folder of images')
    parser.add_argument(
        '--out', default='-', help='file of JSON lines; default: standard '
        'output')
    parser.add_argument('--video', help='annotated video, .mp4 or .avi')
    parser.add_argument('--plot', help='picture of the scores over time')
    parser.add_argument(
        '--segments',
        nargs='+',
        metavar='FILE',
        help='start, end and class of each action: .csv, .json or .srt')
    parser.add_argument(
        '--show', action='store_true', help='open a window; q closes it')
    parser.add_argument(
        '--maps',
        action='store_true',
        help='show edge map and forget gate beside the frames of video and '
        'window')
    parser.add_argument(
        '--source-fps',
        type=float,
        help='frame rate of a folder, or of a video instead of its own')
    parser.add_argument(
        '--live',
        action='store_true',
        help='drop frames rather than fall behind, as cameras and addresses '
        'always do')
    parser.add_argument(
        '--load-state', metavar='FILE', help='continue an earlier stream')
    parser.add_argument(
        '--save-state', metavar='FILE',
        help='write the state at the end, for --load-state')
    parser.add_argument(
        '--topk', type=int, default=5,
        help='number of classes in the output; default: %(default)s')
    add_segment_arguments(parser)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if args.maps and not (args.video or args.show):
        parser.error('--maps: they are seen with --video or --show alone')
    if args.topk < 1:
        parser.error(f'--topk must be positive, got {args.topk}')
    given = ' --'.join(given_settings(args))
    if not args.segments and given:
        parser.error(f'--{given}: without --segments, there are none')
