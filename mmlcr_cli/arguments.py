# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments that several commands share."""
import argparse
from typing import Any, Callable, Iterator

# of mmlcr.streaming, which is not imported here
CONTEXTS = 'windowed', 'free'
CROPS = 'center', 'all'
SEGMENT_SETTINGS = {
    'smoothing': (0.25, 'seconds over which scores are averaged'),
    'enter': (0.4, 'averaged score at which a segment of a class begins'),
    'leave': (0.25, 'averaged score below which the segment ends'),
    'shortest': (0.6, 'least length of a segment in seconds'),
    'gap': (0.4, 'pause in seconds up to which two segments of a class are '
            'joined'),
    'delay': (0.3, 'seconds by which start and end are set back'),
}
BACKGROUND = ('background', 'doing other things', 'no action', 'no gesture',
              'none', 'nothing')


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Argument type: a number of the given kind above zero."""

    def convert(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f'must be positive, got {text}')
        return value

    convert.__name__ = kind.__name__  # argparse names it in its errors
    return convert


def key_value(text: str) -> str:
    """Argument type: ``KEY=VALUE``."""
    if not text.partition('=')[0] or '=' not in text:
        raise argparse.ArgumentTypeError(f'not KEY=VALUE: {text!r}')
    return text


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a config while it is read."""
    parser.add_argument(
        '--data-root',
        help="folder of the lists and clips instead of the config's; the same "
        'as the environment variable LCR_DATA_ROOT')
    parser.add_argument(
        '--fold',
        type=int,
        help='fold of a config with folds; the same as the environment '
        'variable LCR_FOLD')
    parser.add_argument(
        '--num-classes',
        type=int,
        help='number of classes of a config that leaves it open; the same as '
        'the environment variable LCR_NUM_CLASSES')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        metavar='KEY=VALUE',
        help='override settings of the config; nested keys as in '
        'optim_wrapper.optimizer.lr=1e-3, lists as in key="[a,b]", quoted '
        'and without spaces')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and metrics')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that train and test many times."""
    parser.add_argument(
        '--folds', type=int, nargs='+', default=[None], help='folds to run')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0],
        help='seeds to run; default: 0')
    parser.add_argument('--data-root', help='as for "mmlcr train"')
    parser.add_argument(
        '--work-dir', required=True, help='folder of all runs')
    parser.add_argument(
        '--jobs', type=positive(int), default=1,
        help='runs at a time; default: %(default)s')
    parser.add_argument(
        '--threads', type=positive(int), default=1,
        help='threads of each run; default: %(default)s')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        type=key_value,
        metavar='KEY=VALUE',
        help='settings of every run')


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the shape of a clip."""
    parser.add_argument('config', help='config file of LCR')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        default=(16, 224, 224),
        metavar=('FRAMES', 'HEIGHT', 'WIDTH'),
        help='shape of the clip; default: 16 224 224')
    add_config_arguments(parser)


def add_pipeline_argument(parser: argparse.ArgumentParser) -> None:
    """Add the pipeline whose spatial transforms a stream applies."""
    parser.add_argument(
        '--pipeline',
        default='test_pipeline',
        help='pipeline of the config whose spatial transforms are used; '
        'default: %(default)s')


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`mmlcr.cli.models.build_recognizer` reads."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or a step that "mmlcr export" wrote')
    parser.add_argument(
        '--context',
        choices=CONTEXTS,
        default=CONTEXTS[0],
        help='windowed: two windows that restart in turns, so that scores '
        'always rest on half to all of the frames of a training clip; free: '
        'one window that never restarts, at half the cost; default: '
        '%(default)s')
    parser.add_argument(
        '--fps',
        type=float,
        help="frames a second that the model sees; default: the config's")
    add_pipeline_argument(parser)
    parser.add_argument(
        '--crops',
        choices=CROPS,
        default=CROPS[0],
        help='crops of a frame, where the pipeline takes several: the one in '
        'the middle, or all, at several times the cost; default: %(default)s')
    parser.add_argument(
        '--device', default='cpu', help='default: %(default)s')
    add_config_arguments(parser)


def add_segment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of segments, and ``--background``."""
    group = parser.add_argument_group(
        'segments', 'how scores become segments, with --segments')
    for name, (default, meaning) in SEGMENT_SETTINGS.items():
        group.add_argument(
            f'--{name}',
            type=float,
            help=f'{meaning}; default: {default:g}')
    group.add_argument(
        '--background',
        nargs='*',
        metavar='CLASS',
        help='classes without segments; default: those with one of the names '
        f'{", ".join(BACKGROUND)}')


def given_settings(args: argparse.Namespace) -> Iterator[str]:
    """Yield the names of the segment settings that are given."""
    for name in (*SEGMENT_SETTINGS, 'background'):
        if getattr(args, name) is not None:
            yield name
