# Copyright (c) The mmlcr authors. All rights reserved.
"""Outputs of a stream: lines of JSON, a video, a plot, its state.

However a stream ends, the output written so far stays readable.
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

MAX_POINTS = 20_000  # of a plot; beyond it, every second point is dropped


class JSONLines:
    """Writes one line of JSON per result, and flushes it.

    Args:
        path (str): A file, or ``'-'`` for standard output.

    Raises:
        OSError: If it can't be written; earlier lines stay intact.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: TextIO = sys.stdout
        if path != '-':
            _make_folder(path)
            self.file = open(path, 'w')

    def write(self, result: StreamResult) -> None:
        """Write one line."""
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
                    os.truncate(self.path, end)  # drop the partial line
            raise OSError(error.errno, error.strerror, self.path) from None

    def close(self) -> None:
        """Close the file; every line is flushed already."""
        if self.file is not sys.stdout:
            with contextlib.suppress(OSError):  # write() has raised it
                self.file.close()


class AnnotatedVideo(VideoWriter):
    """Writes the processed frames at their times, with the scores on them.

    If results have maps, edge map and forget gate are on the right. Errors
    are those of :class:`mmlcr.video.VideoWriter`.

    Args:
        path (str): Path of the video.
        fps (float): Frames per second for results without times.
        lines (int): Number of classes to show. Defaults to 3.
    """

    def __init__(self, path: str, fps: float, lines: int = 3) -> None:
        super().__init__(path, fps)
        self.lines, self.retention_range = lines, RetentionRange()

    def write(self, result: StreamResult) -> None:
        """Write one frame."""
        assert result.image is not None
        self.add(
            append_maps(
                annotate(result.image, result, self.lines), result.maps,
                self.retention_range), result.seconds)


class ScorePlot:
    """Plots class scores over time when the stream has ended.

    Args:
        path (str): Path of the picture.
        names (Sequence[str]): Names of all classes.
        lines (int): Number of classes to plot: those with the highest scores
            at any time. Defaults to 6.
    """

    def __init__(self, path: str, names: Sequence[str],
                 lines: int = 6) -> None:
        _make_folder(path)
        self.path, self.names, self.lines = path, names, lines
        self.every = 1  # one of so many results is plotted
        self.results = 0
        self.points: List[Tuple[float, np.ndarray]] = []
        self.has_times = True

    def write(self, result: StreamResult) -> None:
        """Add one point to each curve."""
        if self.results % self.every == 0:
            self.has_times = result.seconds is not None
            time = result.seconds if self.has_times else result.frame
            self.points.append((time or 0., result.all_scores))
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]
            self.every *= 2
        self.results += 1

    def close(self) -> None:
        """Save the plot, if there were any results."""
        if not self.points:
            return
        times, scores = zip(*self.points)
        figure = plot_scores(times, scores, self.names, self.lines,
                             'seconds' if self.has_times else 'frame')
        figure.savefig(self.path, dpi=120)


class WindowClosed(Exception):
    """The user closed the window."""


class Window:
    """Shows the annotated frames on the screen; q or Esc closes it.

    Args:
        title (str): Title of the window.

    Raises:
        OSError: If there is no screen.
    """

    def __init__(self, title: str) -> None:
        # without a screen, OpenCV aborts the process
        if sys.platform == 'linux' and not (os.environ.get('DISPLAY') or
                                            os.environ.get('WAYLAND_DISPLAY')):
            raise OSError('there is no screen to show anything on')
        self.title, self.retention_range = title, RetentionRange()

    def write(self, result: StreamResult) -> None:
        """Show one frame.

        Raises:
            WindowClosed: If q or Esc was pressed.
        """
        assert result.image is not None
        image = append_maps(
            annotate(result.image, result), result.maps,
            self.retention_range)
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xff in (ord('q'), 27):
            raise WindowClosed

    def close(self) -> None:
        """Close the window, if it is open."""
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(self.title)


class StateFile:
    """Saves the state at the end of a stream, to resume it later.

    Args:
        path (str): The file; it is replaced atomically.
        recognizer (StreamRecognizer): Recognizer of the stream.
    """

    def __init__(self, path: str, recognizer: StreamRecognizer) -> None:
        _make_folder(path)
        self.path, self.recognizer = path, recognizer

    def write(self, result: StreamResult) -> None:
        """Do nothing; only the last state is saved."""

    def close(self) -> None:
        """Save the state.

        Raises:
            OSError: If it can't be written; the old file is unchanged then.
        """
        data = io.BytesIO()
        torch.save(self.recognizer.state_dict(), data)
        atomic_write(data.getvalue(), self.path)


@contextlib.contextmanager
def closing_all(outputs: Sequence[Any]) -> Iterator[None]:
    """Close all outputs on exit, even if closing one of them fails."""
    with contextlib.ExitStack() as stack:
        for output in outputs:
            stack.callback(output.close)
        yield


def annotate(image: np.ndarray, result: StreamResult,
             lines: int = 3) -> np.ndarray:
    """Draw scores, class names and bars into the corner of a copy."""
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
