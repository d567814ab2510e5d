# Copyright (c) The mmlcr authors. All rights reserved.
"""Where a stream's results go: lines of JSON, a video, a plot, its state.

Whatever ends a stream, what was written before stays readable.
"""
import contextlib
import io
import json
import os
import os.path as osp
import sys
from typing import (
    Any,
    Iterator,
    List,
    Sequence,
    TextIO,
    Tuple,
)

import cv2
import numpy as np
import torch

from mmlcr.engine import atomic_write
from mmlcr.video import VideoWriter
from mmlcr.visualization.maps import RetentionRange, append_maps
from mmlcr.visualization.scores import plot_scores
from mmlcr.visualization.text import draw_text, shortened_to
from .recognizer import StreamRecognizer
from .result import StreamResult

MAX_POINTS = 20_000  # of a plot; of more, every second one is left out


class JSONLines:
    """A line for each result, there as soon as it is known.

    Args:
        path (str): A file, or ``'-'`` for standard output.

    Raises:
        OSError: If it can't be written; lines before are whole.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: TextIO = sys.stdout
        if path != '-':
            _make_folder(path)
            self.file = open(path, 'w')

    def write(self, result: StreamResult) -> None:
        """One line."""
        line = json.dumps(
            dict(
                frame=result.frame,
                seconds=result.seconds,
                labels=result.labels,
                scores=[round(score, 6) for score in result.scores],
                is_full=result.is_full,
                dropped=result.dropped))
        end = self.file.tell() if self.file.seekable() else None
        try:
            self.file.write(line + '\n')
            self.file.flush()
        except OSError as error:
            if end is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, end)  # no half of a line
            raise OSError(error.errno, error.strerror, self.path) from None

    def close(self) -> None:
        """All is written already."""
        if self.file is not sys.stdout:
            with contextlib.suppress(OSError):  # told before
                self.file.close()


class AnnotatedVideo(VideoWriter):
    """The frames that were taken, at their times, and the scores on them.

    The edge map and the forget gate are beside them if results have maps.

    Args:
        path (str): As of :class:`mmlcr.video.VideoWriter`, which tells the
            errors, too.
        fps (float): Frames a second of results without times.
        lines (int): Classes that are shown. Defaults to 3.
    """

    def __init__(self, path: str, fps: float, lines: int = 3) -> None:
        super().__init__(path, fps)
        self.lines, self.seen = lines, RetentionRange()

    def write(self, result: StreamResult) -> None:
        """One frame."""
        assert result.image is not None
        self.add(
            append_maps(
                annotate(result.image, result, self.lines), result.maps,
                self.seen), result.seconds)


class ScorePlot:
    """Class scores over time, as a picture at the end.

    Args:
        path (str): The picture.
        names (Sequence[str]): Of all classes.
        lines (int): Classes that are shown: those with the highest scores at
            any time. Defaults to 6.
    """

    def __init__(self, path: str, names: Sequence[str],
                 lines: int = 6) -> None:
        _make_folder(path)
        self.path, self.names, self.lines = path, names, lines
        self.every = 1  # which results are kept
        self.seen = 0
        self.points: List[Tuple[float, np.ndarray]] = []
        self.has_times = True

    def write(self, result: StreamResult) -> None:
        """One point of each curve."""
        if self.seen % self.every == 0:
            self.has_times = result.seconds is not None
            time = result.seconds if self.has_times else result.frame
            self.points.append((time or 0., result.all_scores))
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]
            self.every *= 2
        self.seen += 1

    def close(self) -> None:
        """Draw, if there is anything to be drawn."""
        if not self.points:
            return
        times, scores = zip(*self.points)
        figure = plot_scores(times, scores, self.names, self.lines,
                             'seconds' if self.has_times else 'frame')
        figure.savefig(self.path, dpi=120)


class WindowClosed(Exception):
    """Somebody wants to see no more."""


class Window:
    """The annotated frames on the screen; q or Esc closes it.

    Args:
        title (str): Of the window.

    Raises:
        OSError: If there is no screen.
    """

    def __init__(self, title: str) -> None:
        # where there is none, OpenCV ends the process
        if sys.platform == 'linux' and not (os.environ.get('DISPLAY') or
                                            os.environ.get('WAYLAND_DISPLAY')):
            raise OSError('there is no screen to show anything on')
        self.title, self.seen = title, RetentionRange()

    def write(self, result: StreamResult) -> None:
        """Show one frame.

        Raises:
            WindowClosed: If q or Esc was pressed.
        """
        assert result.image is not None
        image = append_maps(
            annotate(result.image, result), result.maps, self.seen)
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xff in (ord('q'), 27):
            raise WindowClosed

    def close(self) -> None:
        """Also if it never was open."""
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(self.title)


class StateFile:
    """The state of a stream at its end, for another one to go on from.

    Args:
        path (str): The file; one that is there stays until all is written.
        recognizer (StreamRecognizer): Of the stream.
    """

    def __init__(self, path: str, recognizer: StreamRecognizer) -> None:
        _make_folder(path)
        self.path, self.recognizer = path, recognizer

    def write(self, result: StreamResult) -> None:
        """The end alone counts."""

    def close(self) -> None:
        """Write it.

        Raises:
            OSError: If that can't be done; the file before is whole.
        """
        data = io.BytesIO()
        torch.save(self.recognizer.state_dict(), data)
        atomic_write(data.getvalue(), self.path)


@contextlib.contextmanager
def closing_all(outputs: Sequence[Any]) -> Iterator[None]:
    """Close each, also when another one can't be closed."""
    with contextlib.ExitStack() as stack:
        for output in outputs:
            stack.callback(output.close)
        yield


def annotate(image: np.ndarray, result: StreamResult,
             lines: int = 3) -> np.ndarray:
    """Scores, class names and bars in the upper left corner of a copy."""
    image = np.ascontiguousarray(image).copy()
    height, width = image.shape[:2]
    step = max(9, min(height // 14, width // 20))
    for index in range(min(lines, len(result.labels))):
        label, score = result.labels[index], result.scores[index]
        top = index * step
        strip = image[top:top + step, :width * 3 // 5]
        strip[:] = strip // 3
        bar = strip[:, :round(max(0., min(1., score)) * strip.shape[1])]
        bar[:] = bar // 2 + np.array([20, 90, 20], np.uint8)
        colour = (255, 255, 255) if result.is_full else (160, 160, 160)
        margin = step // 4
        end = draw_text(strip, f'{score:.2f}', margin, 0, step, colour)
        left = end + margin
        name = shortened_to(label, step, strip.shape[1] - left - margin)
        draw_text(strip, name, left, 0, step, colour)
    return image


def _make_folder(path: str) -> None:
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
