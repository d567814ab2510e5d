# Copyright (c) The mmlcr authors. All rights reserved.
"""Classify a clip, and draw what the model sees, keeps and remembers of it."""
import argparse
import itertools
import os
import os.path as osp
import sys
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.utils import track_iter_progress

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import TRANSFORMS
from mmlcr.cli.arguments import add_stream_arguments, positive
from mmlcr.cli.launch import load_config
from mmlcr.cli.models import build_recognizer
from mmlcr.engine import UnreadableFileError
from mmlcr.streaming import StreamRecognizer, StreamResult, open_source
from mmlcr.streaming.outputs import closing_all
from mmlcr.streaming.step import TorchStep
from mmlcr.video import SourceError, VideoWriter
from mmlcr.visualization import Maps
from mmlcr.visualization.pictures import (
    Row,
    Scores,
    cam_row,
    draw_sheet,
    edges_row,
    evenly_spaced,
    film,
    gate_row,
    mask_row,
    picture_row,
    stack_frames,
    state_norm_row,
)

ROWS = 'frame', 'edges', 'tube', 'gate', 'hidden', 'cell', 'cam'
OF_WEIGHTS = ROWS[3:]  # which an ONNX graph does not tell
FILM_FPS = 5.  # so slow that all of it can be seen


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Classify a clip, and draw its frames and edge maps, a '
        'tube mask as in training, the forget gate, the energy of hidden '
        'state and cell, Grad-CAM, and the class scores over time.')
    add_stream_arguments(parser)
    parser.add_argument('video', help='video file, or folder of images')
    parser.add_argument('--out', help='picture to write')
    parser.add_argument('--video', dest='film', metavar='VIDEO',
                        help='video to write, .mp4 or .avi')
    parser.add_argument(
        '--rows', nargs='+', choices=ROWS,
        help='what is drawn; default: all that there is')
    parser.add_argument(
        '--layer', type=int,
        help='of which layer, from zero, gate and energies are, and where '
        'Grad-CAM cuts; default: the mean of all, and the last')
    parser.add_argument(
        '--cam', metavar='CLASS',
        help='name or number of the class that Grad-CAM is of; default: the '
        'one with the highest score')
    parser.add_argument(
        '--columns', type=positive(int),
        help='frames in the picture; default: 8')
    parser.add_argument(
        '--frames', type=positive(int), default=256,
        help='that are taken at most; default: %(default)s')
    parser.add_argument(
        '--topk', type=positive(int), default=5, help='classes shown')
    parser.add_argument(
        '--seed', type=int, help='of the tube mask; default: 0')
    parser.add_argument(
        '--source-fps', type=float,
        help='frames a second of a folder, or of a video in place of its own')
    args = parser.parse_args()
    drawn = [f'--{name}' for name in ('rows', 'layer', 'cam', 'seed')
             if getattr(args, name) is not None]
    if drawn and not args.out and not args.film:
        parser.error(f'{" ".join(drawn)}: nothing is drawn without --out or '
                     '--video')
    for name, rows in (('layer', OF_WEIGHTS), ('cam', ['cam']),
                       ('seed', ['tube'])):
        if args.rows and getattr(args, name) is not None and not (
                {*rows} & {*args.rows}):
            parser.error(f'--{name} is of the rows {", ".join(rows)}')
    if args.columns is not None and not args.out:
        parser.error('--columns: there is no picture without --out')
    args.columns = 8 if args.columns is None else args.columns
    return args


def find_rows(args: argparse.Namespace, recognizer: StreamRecognizer,
              config: Config) -> Sequence[str]:
    """Those that are asked for, or all that there are.

    Raises:
        ValueError: If one that is asked for can't be drawn.
    """
    missing: Dict[str, str] = {}
    if not isinstance(recognizer.run_step, TorchStep):
        missing = dict.fromkeys(OF_WEIGHTS, 'an ONNX graph does not tell it')
    if find_tube_mask(config) is None:
        missing['tube'] = 'the train_pipeline of the config has no TubeMask'
    for name in args.rows or ():
        if name in missing:
            raise ValueError(f'--rows {name}: {missing[name]}')
    return args.rows or [name for name in ROWS if name not in missing]


def find_tube_mask(config: Config) -> Optional[dict]:
    """As the config trains with."""
    for step in config.get('train_pipeline') or ():
        if step['type'] == 'TubeMask':
            return step
    return None


def draw_mask(config: Config, picture: np.ndarray, seed: int) -> np.ndarray:
    """A tube mask as for training, ``(rows, cols)``."""
    np.random.seed(seed)
    transform = TRANSFORMS.build(find_tube_mask(config))
    return transform(dict(imgs=[picture]))['tube_mask'].numpy()


def find_class(recognizer: StreamRecognizer, wanted: str) -> int:
    """Its number.

    Raises:
        ValueError: If there is none of that name or number.
    """
    classes = recognizer.classes
    if wanted in classes:
        return classes.index(wanted)
    if wanted.isdigit() and int(wanted) < len(classes):
        return int(wanted)
    raise ValueError(f'--cam {wanted}: no class of {", ".join(classes)}')


def check_layer(layer: Optional[int], recognizer: StreamRecognizer) -> None:
    """Raise a ``ValueError`` if there is none of that number."""
    if layer is not None and isinstance(recognizer.run_step, TorchStep):
        layers = len(recognizer.run_step.model.backbone.layers)
        if not 0 <= layer < layers:
            raise ValueError(f'--layer {layer}: there are 0 to {layers - 1}')


def take(stream: Iterator[StreamResult], most: int) -> List[StreamResult]:
    """The first results; of their frames the first alone is kept.

    Those of a large source would fill the memory, and what is drawn is in the
    maps.
    """
    return [
        result._replace(image=None) if number else result
        for number, result in enumerate(itertools.islice(stream, most))
    ]


def evidence(recognizer: StreamRecognizer, maps: List[Maps], target: int,
             layer: Optional[int]) -> np.ndarray:
    """Grad-CAM ``(T, rows, cols)``, of one clip of training after another.

    The last one begins so early that it is whole, too. Relative to the highest
    value of each clip.
    """
    step, length = recognizer.run_step, recognizer.clip_len
    assert isinstance(step, TorchStep)  # as was checked
    found = []
    for t in range(0, len(maps), length):
        start = max(0, min(t, len(maps) - length))
        clip = stack_frames(maps[start:start + length])
        cam = step.grad_cam(clip, target, layer)[:, 0]
        found.append(cam[t - start:] / (cam.max() or 1))
    return np.concatenate(found)


def draw_rows(names: Sequence[str], maps: List[Maps], target: int,
              recognizer: StreamRecognizer, config: Config,
              args: argparse.Namespace) -> List[Row]:
    """What is asked for, of all frames."""
    layer = args.layer

    def draw(name: str) -> Row:
        if name == 'frame':
            return picture_row(maps)
        if name == 'edges':
            return edges_row(maps)
        if name == 'tube':
            mask = draw_mask(config, maps[0].picture, args.seed or 0)
            return mask_row(maps, mask)
        if name == 'gate':
            return gate_row(maps, layer)
        if name == 'cam':
            found = evidence(recognizer, maps, target, layer)
            return cam_row(maps, found, recognizer.classes[target])
        return state_norm_row(name, maps, layer)

    return [draw(name) for name in names]


def mean_scores(results: List[StreamResult]) -> np.ndarray:
    """Of the frames at which enough was seen, if there are any."""
    full = [r.all_scores for r in results if r.is_full]
    return np.mean(full or [results[-1].all_scores], axis=0)


def time_of(results: List[StreamResult]) -> Tuple[List[float], str]:
    """Of each frame, and the unit."""
    seconds = [r.seconds for r in results if r.seconds is not None]
    if len(seconds) == len(results):
        return seconds, 'seconds'
    return [float(r.frame) for r in results], 'frame'


def run(args: argparse.Namespace) -> None:
    config = load_config(args)
    recognizer = build_recognizer(args, topk=args.topk, maps=True)
    classes = recognizer.classes
    wanted = find_rows(args, recognizer, config)
    check_layer(args.layer, recognizer)
    target = find_class(recognizer, args.cam) if args.cam else None
    video = None
    if args.film:
        fps = min(recognizer.fps or FILM_FPS, FILM_FPS)
        video = VideoWriter(args.film, fps)
    source = open_source(args.video, args.source_fps)
    stream = recognizer.stream(source)
    results = take(stream, args.frames)
    if next(stream, None) is not None:
        print(f'the first {args.frames} frames alone: --frames takes more')
    stream.close()
    maps = [r.maps for r in results if r.maps is not None]

    scores = mean_scores(results)
    best = np.argsort(-scores, kind='stable')[:args.topk]
    for index in best:
        print(f'{scores[index]:.3f}  {classes[index]}')
    if not args.out and not args.film:
        return
    if target is None:
        target = int(best[0])
    rows = draw_rows(wanted, maps, target, recognizer, config, args)
    times, unit = time_of(results)
    plotted = Scores(times, [r.all_scores for r in results], classes,
                     args.topk, unit)
    layers = 'mean of layers' if args.layer is None else f'layer {args.layer}'
    title = (f'{osp.basename(osp.normpath(source.name))}: {classes[best[0]]} '
             f'({scores[best[0]]:.2f})     {osp.basename(args.config)}, '
             f'{layers}')
    views = len(recognizer.views(results[0].image))
    if views > 1:
        title += f', crop {views} of {views}'
    if args.out:
        os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
        shown = evenly_spaced(len(maps), args.columns)
        draw_sheet(rows, shown, plotted, title).savefig(args.out, dpi=120)
        print(f'picture: {args.out}')
    if video is not None:
        with closing_all([video]):
            pictures = film(rows, plotted, title)
            for picture in track_iter_progress((pictures, len(maps))):
                video.add(picture)
        print(f'\nvideo: {args.film}')


def main() -> int:
    args = parse_args()
    try:
        run(args)
    except (SourceError, UnreadableFileError, ValueError, OSError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
