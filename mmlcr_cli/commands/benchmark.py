# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr benchmark``."""
import argparse

from ..arguments import add_model_arguments, positive

DESCRIPTION = (
    'Time the operator, a clip, a frame and a training step beside attention '
    "and MMAction2's models, and measure how the cost of a clip grows.")
PARTS = ('operator', 'clip', 'step', 'frames', 'side', 'batch', 'stream',
         'memory')
# MMAction2's models, by the configs it ships; the first is the cheapest
OTHERS = {
    'TSM-MobileNetV2':
    'tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb',
    'X3D-M': 'x3d/x3d_m_16x5x1_facebook-kinetics400-rgb',
    'TSM-R50':
    'tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb',
    'SlowOnly-R50':
    'slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb',
    'UniFormer-S': 'uniformer/uniformer-small_imagenet1k-pre_16x4x1_'
    'kinetics400-rgb',
    'MViT-S':
    'mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb',
    'TimeSformer':
    'timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    add_model_arguments(parser)
    parser.add_argument(
        '--checkpoint', help='weights; default: those of the initialization')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=(*PARTS, 'endurance'),
        default=PARTS,
        help='what is measured; endurance, 10,000 frames of a stream, only '
        'when it is named; default: all others')
    parser.add_argument(
        '--others',
        nargs='*',
        choices=list(OTHERS),
        help="MMAction2's models to time a clip of; default: all")
    parser.add_argument(
        '--compiled',
        action='store_true',
        help='time the backend inductor as well, which compiles for a minute '
        'or two')
    parser.add_argument(
        '--threads', type=positive(int), default=2,
        help='default: %(default)s')
    parser.add_argument(
        '--repeats', type=positive(int), default=9,
        help='runs whose median counts; default: %(default)s')
    parser.add_argument(
        '--out',
        help='folder for benchmark.json, benchmark.md and growth.png')


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and fill in defaults."""
    if 'clip' not in args.parts and (args.compiled or args.others is not None):
        parser.error('--compiled and --others are of the part "clip"')
    if args.others is None:
        args.others = list(OTHERS)
