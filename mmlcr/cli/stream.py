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
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

from mmlcr.engine import read_checkpoint
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
from .errors import INPUT_ERRORS, exit_on
from .models import build_recognizer, segment_settings

SPEED_WINDOW = 100  # results over which the speed is averaged
DEFAULT_FPS = 25.  # of the annotated video of a source without a rate


class Meter:
    """Shows progress, speed and delay on standard error."""

    def __init__(self, total: Optional[int]) -> None:
        columns: List[ProgressColumn] = [TextColumn('frame {task.completed}')]
        if total is not None:
            columns += [TextColumn('of {task.total}'), BarColumn()]
        self.progress = Progress(
            *columns,
            TextColumn('{task.fields[status]}'),
            console=Console(stderr=True))
        self.task = self.progress.add_task('', total=total, status='')
        self.times: Deque[float] = deque(maxlen=SPEED_WINDOW)
        self.delays: Deque[float] = deque(maxlen=SPEED_WINDOW)
        self.taken = self.dropped = 0

    def update(self, result: StreamResult) -> None:
        """Count a result."""
        self.taken, self.dropped = self.taken + 1, result.dropped
        self.times.append(time.monotonic())
        if result.delay is not None:
            self.delays.append(result.delay)
        self.progress.update(
            self.task, completed=result.frame + 1, status=self.status())

    def end(self, total: Optional[int]) -> None:
        """Complete the bar, as the last frames may have been skipped."""
        if total is not None:
            self.progress.update(self.task, completed=total, total=total)

    def status(self) -> str:
        """Return frames a second, delay and dropped frames."""
        parts = []
        if len(self.times) > 1:
            seconds = self.times[-1] - self.times[0]
            parts.append(f'{(len(self.times) - 1) / seconds:.1f} frames/s')
        if self.delays:
            parts.append(f'delay {1e3 * median(self.delays):.0f} ms')
            parts.append(f'{self.dropped} dropped')
        return ', '.join(parts)


class Stop:
    """Ends the stream at a signal, after a frame is written completely."""

    def __init__(self) -> None:
        self.received = self.writing = False
        for number in signal.SIGINT, signal.SIGTERM:
            signal.signal(number, self)

    def __call__(self, number: int, frame: Any) -> None:
        """Handle the signal."""
        self.received = True
        if not self.writing:
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self.writing = True

    def __exit__(self, *error: object) -> None:
        self.writing = False
        if self.received:
            raise KeyboardInterrupt


def load_state(recognizer: StreamRecognizer, path: str) -> None:
    """Continue from a file that ``--save-state`` wrote.

    Raises:
        RuntimeError: If it carries code or cannot be read.
        ValueError: If it is no such state, or that of another model.
    """
    state = read_checkpoint(path)
    try:
        recognizer.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def run(args: argparse.Namespace, stop: Stop) -> None:
    """Follow the source, and write the outputs."""
    with contextlib.redirect_stdout(sys.stderr):  # kept for the results
        recognizer = build_recognizer(args, topk=args.topk, maps=args.maps)
    if args.load_state:
        load_state(recognizer, args.load_state)
    source = open_source(args.source, args.source_fps)
    meter = Meter(source.length)
    outputs: List[Any] = [JSONLines(args.out)]
    if args.video:
        outputs.append(
            AnnotatedVideo(args.video, recognizer.fps or DEFAULT_FPS))
    if args.plot:
        outputs.append(ScorePlot(args.plot, recognizer.classes))
    if args.segments:
        outputs.append(
            SegmentFiles(
                args.segments,
                Segmenter(recognizer.classes, segment_settings(args),
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
                    meter.update(result)
            meter.end(source.length)
    except WindowClosed:
        pass
    finally:
        print(*filter(None, (f'{meter.taken} frames taken', meter.status())),
              sep=', ', file=sys.stderr)


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> int:
    """Run the command."""
    try:
        run(args, Stop())
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    return 0
