# Copyright (c) The mmlcr authors. All rights reserved.
"""Measure accuracy on long streams, which are test clips in a row."""
import argparse
import itertools
import json
import random
import sys
from collections import deque
from math import nan
from statistics import mean, median
from typing import (
    Deque,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import torch
from mmengine.utils import track_iter_progress
from torch import Tensor

from mmaction.registry import DATASETS
from mmlcr.streaming import (
    Frame,
    FrameRateFilter,
    Segment,
    Segmenter,
    Settings,
    StreamRecognizer,
    match,
    segments_of,
)
from mmlcr.video import VideoReader
from .errors import exit_on
from .launch import CONFIG_ERRORS, load_config
from .models import segment_settings

WINDOW = 'clip, sliding'  # the clip model on the last clip_len frames


class LabelledFrame(NamedTuple):
    """A frame of a stream that the model sees."""
    views: Tensor
    label: int
    seconds: float


class Evaluation(NamedTuple):
    """Predictions of a stream against its labels."""
    right: List[bool]  # whether each frame is classified correctly
    waits: List[int]  # frames from a change of action to the first right one
    never: int  # changes without a right frame before the next change


def read_clips(dataset: dict) -> List[Tuple[str, int]]:
    """Return the paths and labels of a list of videos.

    Raises:
        ValueError: If clips have several labels.
    """
    clips = DATASETS.build({**dataset, 'open_files': False})
    if clips.multi_class:
        raise ValueError('the accuracy on streams needs clips with one label, '
                         'and these have several (multi_class=True)')
    infos = (clips.get_data_info(number) for number in range(len(clips)))
    return [(info[clips.clip_key], info['label']) for info in infos]


def read_stream(clips: List[Tuple[str, int]], recognizer: StreamRecognizer,
                least: int) -> Tuple[List[LabelledFrame], List[Segment]]:
    """Join clips to a stream of at least ``least`` source frames.

    Two clips of one class never follow each other, so that each begin of a
    clip is a change of action.

    Returns:
        tuple[list[LabelledFrame], list[Segment]]: The frames that the model
        sees, and the true segments.
    """
    frame_filter = FrameRateFilter(recognizer.fps, recognizer.interval)
    taken: List[LabelledFrame] = []
    true: List[Segment] = []
    left, last, number, begin = list(clips), -1, 0, 0.
    while number < least:
        others = [clip for clip in left if clip[1] != last]
        if not others:
            left = list(clips)
            continue
        path, last = random.choice(others)
        left.remove((path, last))
        with VideoReader(path) as reader:
            for image, seconds in reader:
                frame = Frame(image, number, begin + seconds)
                if frame_filter.is_due(frame):
                    taken.append(
                        LabelledFrame(
                            recognizer.views(image), last, begin + seconds))
                number += 1
            end = begin + seconds + 1 / reader.fps
        true.append(Segment(begin, end, recognizer.classes[last], 1.))
        begin = end
    return taken, true


def follow(stream: List[LabelledFrame], recognizer: StreamRecognizer,
           context: str) -> List[Tensor]:
    """Return the scores after each frame, ``(classes,)``."""
    found = []
    window: Deque[Tensor] = deque(maxlen=recognizer.clip_len)
    if context != WINDOW:
        recognizer.context = context
    recognizer.reset()
    for views, _, _ in stream:
        if context == WINDOW:
            window.append(views)
            scores, _ = recognizer.run_step(torch.cat([*window], 2), None)
            scores = scores.mean(0)
        else:
            scores = recognizer.take_views(views)[0][0]
        found.append(scores)
    return found


def evaluate(predicted: List[int], labels: List[int]) -> Evaluation:
    """Compare predicted with true classes, frame by frame."""
    waits, never = [], 0
    right = [a == b for a, b in zip(predicted, labels)]
    starts = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]
    for start, stop in zip(starts, [*starts[1:], len(labels)]):
        if True in right[start:stop]:
            waits.append(right[start:stop].index(True))
        else:
            never += 1
    return Evaluation(right, waits, never)


def evaluate_segments(followed: List[tuple], settings: Settings,
                   recognizer: StreamRecognizer,
                   background: Optional[Sequence[str]]) -> dict:
    """Compute F1 at an overlap of one half, and the delay of starts.

    Args:
        followed (list[tuple]): Frames, scores and true segments of each
            stream.
        settings (Settings): How scores become segments.
        recognizer (StreamRecognizer): The stream, for its classes.
        background (sequence[str], optional): Classes without segments.

    Returns:
        dict[str, float]: ``f1``, ``precision`` and ``recall`` in per cent,
        and ``delay`` in seconds.
    """
    pairs, found, true = [], 0, 0
    for stream, scores, segments in followed:
        segmenter = Segmenter(recognizer.classes, settings, background)
        ours = segments_of([taken.seconds for taken in stream], scores,
                           segmenter)
        pairs += match(ours, segments)
        found, true = found + len(ours), true + len(segments)
    late = [a.start - b.start for a, b in pairs]
    return dict(
        f1=100 * 2 * len(pairs) / max(1, found + true),
        precision=100 * len(pairs) / max(1, found),
        recall=100 * len(pairs) / max(1, true),
        delay=mean(late) if late else nan)


def tune(followed: List[tuple], recognizer: StreamRecognizer,
         background: Optional[Sequence[str]]) -> Settings:
    """Search the settings with the highest F1; the delay is chosen last."""
    grid = itertools.product((0, 0.25, 0.5, 1), (0.3, 0.4, 0.5, 0.6),
                             (0.5, 0.8), (0.3, 0.6, 1.), (0.2, 0.4, 0.8))
    tried = []
    for smoothing, enter, share, shortest, gap in grid:
        settings = Settings(smoothing, enter, round(share * enter, 2),
                            shortest, gap, 0.)
        found = evaluate_segments(followed, settings, recognizer, background)
        tried.append((found['f1'], -abs(found['delay']), settings))
    late = -max(tried)[1]
    best = max(tried)[2]
    return max((
        best._replace(delay=round(delay, 2)) for delay in (0., late / 2, late)
    ), key=lambda settings: evaluate_segments(followed, settings, recognizer,
                                           background)['f1'])


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> int:
    """Run the command."""
    random.seed(args.seed)
    config = load_config(args)
    recognizer = StreamRecognizer(config, args.checkpoint)
    try:
        dataset = config.test_dataloader.dataset
        if args.ann_file:
            dataset = {**dataset, 'ann_file': args.ann_file}
        clips = read_clips(dataset)
    except ValueError as error:
        sys.exit(str(error))
    evaluations: Dict[str, List[Evaluation]] = {}
    lengths = []
    followed: Dict[str, List[tuple]] = {}
    for _ in track_iter_progress(list(range(args.streams))):
        stream, true = read_stream(clips, recognizer, args.frames)
        lengths.append(len(stream))
        labels = [taken.label for taken in stream]
        for context in (*StreamRecognizer.CONTEXTS, WINDOW):
            scores = follow(stream, recognizer, context)
            predicted = [int(each.argmax()) for each in scores]
            evaluations.setdefault(context, []).append(
                evaluate(predicted, labels))
            followed.setdefault(context, []).append((stream, scores, true))
    print(f'\n{args.streams} streams of at least {args.frames} frames, '
          f'{sum(lengths)} frames taken')
    print('| context | top-1 by frame | frames until right: median | mean | '
          'changes never noticed |\n|---|---|---|---|---|')
    figures: Dict[str, dict] = {}
    for context, each in evaluations.items():
        right = [r for found in each for r in found.right]
        waits = [w for found in each for w in found.waits]
        never = sum(found.never for found in each)
        figures[context] = dict(
            accuracy=100 * mean(right),
            median_wait=median(waits) if waits else nan,
            mean_wait=mean(waits) if waits else nan,
            never=never / max(1, never + len(waits)))
        print('| {} | {accuracy:.1f} | {median_wait:g} | {mean_wait:.1f} | '
              '{never:.0%} |'.format(context, **figures[context]))
    if args.segments:
        settings = segment_settings(args)
        print('\n| context | segment F1 | precision | recall | seconds that '
              'starts are late |\n|---|---|---|---|---|')
        for context, streams in followed.items():
            segments = evaluate_segments(streams, settings, recognizer,
                                   args.background)
            figures[context].update(segments=segments)
            print('| {} | {f1:.1f} | {precision:.1f} | {recall:.1f} | '
                  '{delay:.2f} |'.format(context, **segments))
    if args.tune:
        best = tune(followed['windowed'], recognizer, args.background)
        print('\nwindowed, the best: ' + ' '.join(
            f'--{name} {value:g}' for name, value in best._asdict().items()))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(figures, file, indent=1)
    return 0
