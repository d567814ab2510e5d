# Copyright (c) The mmlcr authors. All rights reserved.
"""Recognize actions in a video, camera or network stream, frame by frame."""
import argparse
import contextlib
import os.path as osp
import signal
import sys
import time
from collections import deque
from statistics import median
from typing import Any, Deque, List, Optional

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import (
    add_segment_arguments,
    add_stream_arguments,
    settings_given,
    settings_of,
)
from mmlcr.cli.models import build_recognizer
from mmlcr.engine import UnreadableFileError, read_checkpoint
from mmlcr.streaming import (
    AnnotatedVideo,
    JSONLines,
    ScorePlot,
    Segmenter,
    SegmentFiles,
    StateFile,
    StreamRecognizer,
    StreamResult,
    Window,
    WindowClosed,
    closing_all,
    open_source,
)
from mmlcr.video import SourceError

LAST = 100  # results that the speed is of
USUAL_FPS = 25.  # of a video of frames whose rate nobody knows


class Meter:
    """Progress, speed and delay on standard error."""

    def __init__(self, total: Optional[int]) -> None:
        columns = [TextColumn('frame {task.completed}')]
        if total is not None:
            columns += [TextColumn('of {task.total}'), BarColumn()]
        self.progress = Progress(
            *columns,
            TextColumn('{task.fields[said]}'),
            console=Console(stderr=True))
        self.task = self.progress.add_task('', total=total, said='')
        self.times: Deque[float] = deque(maxlen=LAST)
        self.delays: Deque[float] = deque(maxlen=LAST)
        self.taken = self.dropped = 0

    def see(self, result: StreamResult) -> None:
        """One more result."""
        self.taken, self.dropped = self.taken + 1, result.dropped
        self.times.append(time.monotonic())
        if result.delay is not None:
            self.delays.append(result.delay)
        self.progress.update(
            self.task, completed=result.frame + 1, said=self.said())

    def end(self, total: Optional[int]) -> None:
        """All frames have been seen, the last not taken maybe."""
        if total is not None:
            self.progress.update(self.task, completed=total, total=total)

    def said(self) -> str:
        """Frames a second, delay and what was dropped."""
        parts = []
        if len(self.times) > 1:
            seconds = self.times[-1] - self.times[0]
            parts.append(f'{(len(self.times) - 1) / seconds:.1f} frames/s')
        if self.delays:
            parts.append(f'delay {1e3 * median(self.delays):.0f} ms')
            parts.append(f'{self.dropped} dropped')
        return ', '.join(parts)


class Stop:
    """Ends the stream at a signal, but for what is written of a frame."""

    def __init__(self) -> None:
        self.asked = self.writing = False
        for number in signal.SIGINT, signal.SIGTERM:
            signal.signal(number, self)

    def __call__(self, number: int, frame: Any) -> None:
        """The signal."""
        self.asked = True
        if not self.writing:
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self.writing = True

    def __exit__(self, *error: object) -> None:
        self.writing = False
        if self.asked:
            raise KeyboardInterrupt


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Recognize actions in a stream, frame by frame. Writes a '
        'line of JSON for each frame that is taken, to standard output unless '
        '--out names a file. Ctrl-C ends it.')
    add_stream_arguments(parser)
    parser.add_argument(
        'source',
        help='video file, number of a camera, address (rtsp://, http://), or '
        'folder of images')
    parser.add_argument('--out', default='-', help='file of JSON lines')
    parser.add_argument('--video', help='annotated video, .mp4 or .avi')
    parser.add_argument('--plot', help='picture of the scores over time')
    parser.add_argument(
        '--segments',
        nargs='+',
        metavar='FILE',
        help='what happens from when to when: .csv, .json or .srt')
    parser.add_argument(
        '--show', action='store_true', help='a window; q closes it')
    parser.add_argument(
        '--maps',
        action='store_true',
        help='edge map and forget gate beside the frames of video and window')
    parser.add_argument(
        '--source-fps',
        type=float,
        help='frames a second of a folder, or of a video in place of its own')
    parser.add_argument(
        '--live',
        action='store_true',
        help='drop frames rather than fall behind; cameras and addresses do')
    parser.add_argument('--load-state', help='go on with a stream')
    parser.add_argument('--save-state', help='file to go on from later')
    parser.add_argument('--topk', type=int, default=5,
        help='classes told, at most all; default: %(default)s')
    add_segment_arguments(parser)
    args = parser.parse_args()
    if args.maps and not (args.video or args.show):
        parser.error('--maps: they are seen with --video or --show alone')
    if args.topk < 1:
        parser.error(f'--topk must be positive, got {args.topk}')
    if not args.segments and [*settings_given(args)]:
        parser.error(f'--{" --".join(settings_given(args))}: without '
                     '--segments, there are none')
    return args


def load_state(recognizer: StreamRecognizer, path: str) -> None:
    """Go on with what ``--save-state`` wrote; it can't carry code.

    Raises:
        RuntimeError: If it carries code, or can't be read.
        ValueError: If it is no such state, or of another model.
    """
    state = read_checkpoint(path)
    try:
        recognizer.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def run(args: argparse.Namespace, stop: Stop) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # that is for the results
        recognizer = build_recognizer(args, topk=args.topk, maps=args.maps)
    if args.load_state:
        load_state(recognizer, args.load_state)
    source = open_source(args.source, args.source_fps)
    meter = Meter(source.length)
    outputs: List[Any] = [JSONLines(args.out)]
    if args.video:
        outputs.append(
            AnnotatedVideo(args.video, recognizer.fps or USUAL_FPS))
    if args.plot:
        outputs.append(ScorePlot(args.plot, recognizer.classes))
    if args.segments:
        outputs.append(
            SegmentFiles(
                args.segments,
                Segmenter(recognizer.classes, settings_of(args),
                          args.background, recognizer.multi_class)))
    if args.save_state:
        outputs.append(StateFile(args.save_state, recognizer))
    if args.show:
        outputs.append(Window(osp.basename(source.name)))
    try:
        with closing_all(outputs), meter.progress:
            for result in recognizer.stream(
                    source,
                    live=args.live or None,
                    keep_state=args.load_state is not None):
                with stop:
                    for output in outputs:
                        output.write(result)
                    meter.see(result)
            meter.end(source.length)
    except WindowClosed:
        pass
    finally:
        print(*filter(None, (f'{meter.taken} frames taken', meter.said())),
              sep=', ', file=sys.stderr)


def main() -> int:
    args = parse_args()
    try:
        run(args, Stop())
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the lines has gone
        sys.stdout = None  # type: ignore[assignment]
        return 141
    except (SourceError, UnreadableFileError, ValueError, OSError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
