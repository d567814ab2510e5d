# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments that several commands share."""
import argparse
from typing import Any, Callable, Iterator

from mmengine.config import DictAction

from mmlcr.streaming.segments import BACKGROUND, DEFAULTS, Settings
from mmlcr.streaming.windows import CONTEXTS


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Type of an argument that has to be above zero."""

    def convert(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f'must be positive, got {text}')
        return value

    convert.__name__ = kind.__name__  # of which argparse speaks
    return convert


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what changes a config as it is read."""
    parser.add_argument(
        '--data-root',
        help="folder of the lists and clips, in place of the config's; like "
        'the environment variable LCR_DATA_ROOT')
    parser.add_argument(
        '--fold',
        type=int,
        help='fold of a config with folds; like the environment variable '
        'LCR_FOLD')
    parser.add_argument(
        '--num-classes',
        type=int,
        help='classes, for a config that leaves them open; like the '
        'environment variable LCR_NUM_CLASSES')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config by key=value, nested keys as '
        'in optim_wrapper.optimizer.lr=1e-3, lists as in key="[a,b]", quoted '
        'and without spaces')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and metrics')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config, and the shape of the clip."""
    parser.add_argument('config', help='config file of LCR')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        default=(16, 224, 224),
        metavar=('FRAMES', 'HEIGHT', 'WIDTH'))
    add_config_arguments(parser)


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`mmlcr.cli.models.build_recognizer`."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or a step that tools/export_onnx.py wrote')
    parser.add_argument(
        '--context',
        choices=CONTEXTS,
        default=CONTEXTS[0],
        help='two memories that begin anew in turns, for scores of half to '
        'all of the frames that a clip has, or one that runs on, at half of '
        'the cost; default: %(default)s')
    parser.add_argument(
        '--fps',
        type=float,
        help="frames a second that are taken; default: the config's")
    parser.add_argument(
        '--pipeline',
        default='test_pipeline',
        help='whose spatial transforms are taken; default: %(default)s')
    parser.add_argument('--device', default='cpu')
    add_config_arguments(parser)


def add_segment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`settings_of` takes, and ``--background``."""
    group = parser.add_argument_group(
        'segments', 'settings of the segments, which --segments asks for')
    for name, said in (
        ('smoothing', 'seconds over which scores are averaged'),
        ('enter', 'averaged score from which a class begins'),
        ('leave', 'averaged score below which it ends'),
        ('shortest', 'seconds of a segment at least'),
        ('gap', 'seconds between two segments of a class that are one'),
        ('delay', 'seconds by which times are set back')):
        group.add_argument(
            f'--{name}',
            type=float,
            help=f'{said}; default: {getattr(DEFAULTS, name):g}')
    group.add_argument(
        '--background',
        nargs='*',
        metavar='CLASS',
        help='classes that have no segments; default: those of the names '
        f'{", ".join(BACKGROUND)}')


def settings_given(args: argparse.Namespace) -> Iterator[str]:
    """Names of the settings that are among the arguments."""
    for name in (*Settings._fields, 'background'):
        if getattr(args, name) is not None:
            yield name


def settings_of(args: argparse.Namespace) -> Settings:
    """By the arguments."""
    return DEFAULTS._replace(
        **{
            name: getattr(args, name)
            for name in settings_given(args) if name != 'background'
        })
