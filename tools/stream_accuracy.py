# Copyright (c) The mmlcr authors. All rights reserved.
"""How right a model is on streams: test clips one after the other."""
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

import numpy as np
import torch
from mmengine.utils import track_iter_progress
from torch import Tensor

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import DATASETS
from mmlcr.cli.arguments import (
    add_config_arguments,
    add_segment_arguments,
    positive,
    settings_given,
    settings_of,
)
from mmlcr.cli.launch import ending_with_errors, load_config
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

WINDOW = 'clip, sliding'  # the model on the last clip_len frames, from afresh


class Taken(NamedTuple):
    """A frame of a stream."""
    views: Tensor
    label: int
    seconds: float


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
        '--streams',
        type=positive(int),
        default=5,
        help='how many; default: 5')
    parser.add_argument(
        '--frames',
        type=positive(int),
        default=1000,
        help='of the source, that a stream has at least; default: 1000')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--ann-file',
        help="list of the clips, in place of the test set's; of its folder")
    parser.add_argument(
        '--segments',
        action='store_true',
        help='judge the segments of the streams as well')
    parser.add_argument(
        '--tune',
        action='store_true',
        help='look for the settings of segments that fit best; on clips of '
        'training persons alone, by --ann-file')
    parser.add_argument('--out', help='JSON file of the figures')
    add_config_arguments(parser)
    add_segment_arguments(parser)
    args = parser.parse_args()
    if args.tune and not args.ann_file:
        parser.error('--tune: without --ann-file, settings would be chosen on '
                     'the clips that judge them')
    given = [*settings_given(args)]
    if args.tune and given == ['background']:
        given = []
    if not args.segments and given:
        parser.error(f'--{" --".join(given)}: without --segments, there are '
                     'none')
    return args


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
                least: int) -> Tuple[List[Taken], List[Segment]]:
    """Frames that are taken, and what happens from when to when.

    Clips of one action never follow each other: there would be no change.
    """
    frame_filter = FrameRateFilter(recognizer.fps, recognizer.interval)
    taken: List[Taken] = []
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
                        Taken(recognizer.views(image), last, begin + seconds))
                number += 1
            end = begin + seconds + 1 / reader.fps
        true.append(Segment(begin, end, recognizer.classes[last], 1.))
        begin = end
    return taken, true


def follow(stream: List[Taken], recognizer: StreamRecognizer,
           context: str) -> List[np.ndarray]:
    """Scores after each frame."""
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


def judge_segments(followed: List[tuple], settings: Settings,
                   recognizer: StreamRecognizer,
                   background: Optional[Sequence[str]]) -> dict:
    """F1 at half of an overlap, and how late starts are, in seconds.

    Streams are tuples of their frames, scores and true segments.
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
    """The settings with the highest F1; times are set back at the end."""
    grid = itertools.product((0, 0.25, 0.5, 1), (0.3, 0.4, 0.5, 0.6),
                             (0.5, 0.8), (0.3, 0.6, 1.), (0.2, 0.4, 0.8))
    tried = []
    for smoothing, enter, share, shortest, gap in grid:
        settings = Settings(smoothing, enter, round(share * enter, 2),
                            shortest, gap, 0.)
        found = judge_segments(followed, settings, recognizer, background)
        tried.append((found['f1'], -abs(found['delay']), settings))
    late = -max(tried)[1]
    best = max(tried)[2]
    return max((
        best._replace(delay=round(delay, 2)) for delay in (0., late / 2, late)
    ), key=lambda settings: judge_segments(followed, settings, recognizer,
                                           background)['f1'])


@ending_with_errors()
def main() -> int:
    args = parse_args()
    random.seed(args.seed)
    config = load_config(args)
    recognizer = StreamRecognizer(config, args.checkpoint)
    try:
        dataset = config.test_dataloader.dataset
        if args.ann_file:
            dataset = {**dataset, 'ann_file': args.ann_file}
        clips = read_clips(dataset)
    except ValueError as error:
        sys.exit(f'stream_accuracy: {error}')
    outcomes: Dict[str, List[Outcome]] = {}
    lengths = []
    followed: Dict[str, List[tuple]] = {}
    for _ in track_iter_progress(list(range(args.streams))):
        stream, true = read_stream(clips, recognizer, args.frames)
        lengths.append(len(stream))
        labels = [taken.label for taken in stream]
        for context in (*StreamRecognizer.CONTEXTS, WINDOW):
            scores = follow(stream, recognizer, context)
            told = [int(each.argmax()) for each in scores]
            outcomes.setdefault(context, []).append(judge(told, labels))
            followed.setdefault(context, []).append((stream, scores, true))
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
    if args.segments:
        settings = settings_of(args)
        print('\n| context | segment F1 | precision | recall | seconds that '
              'starts are late |\n|---|---|---|---|---|')
        for context, each in followed.items():
            found = judge_segments(each, settings, recognizer,
                                   args.background)
            figures[context].update(segments=found)
            print('| {} | {f1:.1f} | {precision:.1f} | {recall:.1f} | '
                  '{delay:.2f} |'.format(context, **found))
    if args.tune:
        best = tune(followed['windowed'], recognizer, args.background)
        print('\nwindowed, the best: ' + ' '.join(
            f'--{name} {value:g}' for name, value in best._asdict().items()))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
