# Copyright (c) The mmlcr authors. All rights reserved.
"""How right a model is on streams: test clips one after the other."""
import argparse
import json
import random
import sys
from collections import deque
from math import nan
from statistics import mean, median
from typing import Deque, Dict, List, NamedTuple, Tuple

import torch
from mmengine.utils import track_iter_progress
from torch import Tensor

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import DATASETS
from mmlcr.apis import (
    Frame,
    FrameRateFilter,
    StreamRecognizer,
    add_config_arguments,
    load_config,
)
from mmlcr.video import VideoReader

WINDOW = 'clip, sliding'  # the model on the last clip_len frames, from afresh


class Outcome(NamedTuple):
    """Of one way to follow streams."""
    right: List[bool]  # of each frame
    waits: List[int]  # frames after a change of action until it is right
    never: int  # changes after which it was not, before the next one


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Join the test clips of a config's video data set into "
        'streams, in random order, and follow them frame by frame: accuracy '
        'by frame, and how long after a change of action it is right again, '
        'of each context and of the model on a window that slides')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--streams', type=int, default=5, help='how many; default: 5')
    parser.add_argument(
        '--frames',
        type=int,
        default=1000,
        help='of the source, that a stream has at least; default: 1000')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', help='JSON file of the figures')
    add_config_arguments(parser)
    return parser.parse_args()


def read_clips(dataset: dict) -> List[Tuple[str, int]]:
    """Paths and labels of a list of videos.

    Raises:
        ValueError: If clips have several labels.
    """
    clips = DATASETS.build({**dataset, 'open_files': False})
    if clips.multi_class:
        raise ValueError('streams are judged by the one label of each clip, '
                         'and these have several (multi_class=True)')
    infos = (clips.get_data_info(number) for number in range(len(clips)))
    return [(info[clips.clip_key], info['label']) for info in infos]


def read_stream(clips: List[Tuple[str, int]], recognizer: StreamRecognizer,
                least: int) -> List[Tuple[Tensor, int]]:
    """Views and label of each frame that is taken.

    Clips of one action never follow each other: there would be no change.
    """
    frame_filter = FrameRateFilter(recognizer.fps, recognizer.interval)
    taken: List[Tuple[Tensor, int]] = []
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
                    taken.append((recognizer.views(image), last))
                number += 1
            begin += seconds + 1 / reader.fps
    return taken


def follow(stream: List[Tuple[Tensor, int]], recognizer: StreamRecognizer,
           context: str) -> List[int]:
    """The class that is told after each frame."""
    told = []
    window: Deque[Tensor] = deque(maxlen=recognizer.clip_len)
    if context != WINDOW:
        recognizer.context = context
    recognizer.reset()
    for views, _ in stream:
        if context == WINDOW:
            window.append(views)
            scores, _ = recognizer.run_step(torch.cat([*window], 2), None)
            scores = scores.mean(0)
        else:
            scores = recognizer.take_views(views)[0][0]
        told.append(int(scores.argmax()))
    return told


def judge(told: List[int], labels: List[int]) -> Outcome:
    """What was told beside what is."""
    waits, never = [], 0
    right = [a == b for a, b in zip(told, labels)]
    starts = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]
    for start, stop in zip(starts, [*starts[1:], len(labels)]):
        if True in right[start:stop]:
            waits.append(right[start:stop].index(True))
        else:
            never += 1
    return Outcome(right, waits, never)


def main() -> int:
    args = parse_args()
    random.seed(args.seed)
    config = load_config(args)
    recognizer = StreamRecognizer(config, args.checkpoint)
    try:
        clips = read_clips(config.test_dataloader.dataset)
    except ValueError as error:
        sys.exit(f'stream_accuracy: {error}')
    outcomes: Dict[str, List[Outcome]] = {}
    lengths = []
    for _ in track_iter_progress(list(range(args.streams))):
        stream = read_stream(clips, recognizer, args.frames)
        lengths.append(len(stream))
        labels = [label for _, label in stream]
        for context in (*StreamRecognizer.CONTEXTS, WINDOW):
            told = follow(stream, recognizer, context)
            outcomes.setdefault(context, []).append(judge(told, labels))
    print(f'\n{args.streams} streams of at least {args.frames} frames, '
          f'{sum(lengths)} frames taken')
    print('| context | top-1 by frame | frames until right: median | mean | '
          'changes never noticed |\n|---|---|---|---|---|')
    figures = {}
    for context, each in outcomes.items():
        right = [r for outcome in each for r in outcome.right]
        waits = [w for outcome in each for w in outcome.waits]
        never = sum(outcome.never for outcome in each)
        figures[context] = dict(
            accuracy=100 * mean(right),
            median_wait=median(waits) if waits else nan,
            mean_wait=mean(waits) if waits else nan,
            never=never / max(1, never + len(waits)))
        print('| {} | {accuracy:.1f} | {median_wait:g} | {mean_wait:.1f} | '
              '{never:.0%} |'.format(context, **figures[context]))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
