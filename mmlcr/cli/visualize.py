# Copyright (c) The mmlcr authors. All rights reserved.
"""Classify a clip, and draw its edge maps, forget gate, state and Grad-CAM."""
import argparse
import itertools
import os
import os.path as osp
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.utils import track_iter_progress

from mmaction.registry import TRANSFORMS
from mmlcr.streaming import StreamRecognizer, StreamResult, open_source
from mmlcr.streaming.outputs import closing_all
from mmlcr.streaming.step import TorchStep
from mmlcr.video import VideoWriter
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
from mmlcr_cli.commands.visualize import MODEL_ROWS, ROWS
from .errors import INPUT_ERRORS, exit_on
from .launch import load_config
from .models import build_recognizer

FILM_FPS = 5.  # slow enough to follow all rows


def find_rows(args: argparse.Namespace, recognizer: StreamRecognizer,
              config: Config) -> Sequence[str]:
    """Return the rows to draw: those of the arguments, or all available.

    Raises:
        ValueError: If a row of the arguments cannot be drawn.
    """
    missing: Dict[str, str] = {}
    if not isinstance(recognizer.run_step, TorchStep):
        missing = dict.fromkeys(MODEL_ROWS, 'an ONNX graph does not output it')
    if find_tube_mask(config) is None:
        missing['tube'] = 'the train_pipeline of the config has no TubeMask'
    for name in args.rows or ():
        if name in missing:
            raise ValueError(f'--rows {name}: {missing[name]}')
    return args.rows or [name for name in ROWS if name not in missing]


def find_tube_mask(config: Config) -> Optional[dict]:
    """Return the ``TubeMask`` of the config's training, if there is one."""
    for step in config.get('train_pipeline') or ():
        if step['type'] == 'TubeMask':
            return step
    return None


def draw_mask(config: Config, picture: np.ndarray, seed: int) -> np.ndarray:
    """Draw a tube mask as in training, ``(rows, cols)``."""
    np.random.seed(seed)
    transform = TRANSFORMS.build(find_tube_mask(config))
    return transform(dict(imgs=[picture]))['tube_mask'].numpy()


def find_class(recognizer: StreamRecognizer, label: str) -> int:
    """Return the number of a class, given by name or number.

    Raises:
        ValueError: If there is no such class.
    """
    classes = recognizer.classes
    if label in classes:
        return classes.index(label)
    if label.isdigit() and int(label) < len(classes):
        return int(label)
    raise ValueError(f'--cam {label}: no class of {", ".join(classes)}')


def check_layer(layer: Optional[int], recognizer: StreamRecognizer) -> None:
    """Raise a ``ValueError`` if there is no such layer."""
    if layer is not None and isinstance(recognizer.run_step, TorchStep):
        layers = len(recognizer.run_step.model.backbone.layers)
        if not 0 <= layer < layers:
            raise ValueError(f'--layer {layer}: there are 0 to {layers - 1}')


def take(stream: Iterator[StreamResult], most: int) -> List[StreamResult]:
    """Return the first results, without the images after the first.

    The images of a large source would fill the memory, and everything that is
    drawn is in the maps.
    """
    return [
        result._replace(image=None) if number else result
        for number, result in enumerate(itertools.islice(stream, most))
    ]


def evidence(recognizer: StreamRecognizer, maps: List[Maps], target: int,
             layer: Optional[int]) -> np.ndarray:
    """Compute Grad-CAM ``(T, rows, cols)`` in clips of the training length.

    The last clip overlaps the one before it, so that it has the full length.
    Values are relative to the highest of each clip.
    """
    step, length = recognizer.run_step, recognizer.clip_len
    assert isinstance(step, TorchStep)  # find_rows has checked it
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
    """Draw the named rows for all frames."""
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
    """Average the scores over frames with a full context, if there are any."""
    full = [r.all_scores for r in results if r.is_full]
    return np.mean(full or [results[-1].all_scores], axis=0)


def time_of(results: List[StreamResult]) -> Tuple[List[float], str]:
    """Return the time of each frame, and its unit."""
    seconds = [r.seconds for r in results if r.seconds is not None]
    if len(seconds) == len(results):
        return seconds, 'seconds'
    return [float(r.frame) for r in results], 'frame'


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    config = load_config(args)
    recognizer = build_recognizer(args, topk=args.topk, maps=True)
    classes = recognizer.classes
    names = find_rows(args, recognizer, config)
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
        print(f'only the first {args.frames} frames are used: --frames '
              'takes more')
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
    rows = draw_rows(names, maps, target, recognizer, config, args)
    times, unit = time_of(results)
    plotted = Scores(times, [r.all_scores for r in results], classes,
                     args.topk, unit)
    layers = 'mean of layers' if args.layer is None else f'layer {args.layer}'
    title = (f'{osp.basename(osp.normpath(source.name))}: {classes[best[0]]} '
             f'({scores[best[0]]:.2f})     {osp.basename(args.config)}, '
             f'{layers}')
    assert results[0].image is not None
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
