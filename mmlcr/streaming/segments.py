# Copyright (c) The mmlcr authors. All rights reserved.
"""Temporal segments of actions from the scores of a stream."""
import math
from typing import (
    Any,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

# names of background classes, in lower case
BACKGROUND = ('background', 'doing other things', 'no action', 'no gesture',
              'none', 'nothing')
LONGEST_PAUSE = 2.  # seconds without a frame that end all segments


class Segment(NamedTuple):
    """A class and the interval in which it happens."""
    start: float  # seconds from the start of the source
    end: float
    label: str
    score: float  # mean of the smoothed scores


class Settings(NamedTuple):
    """Thresholds and times of a :class:`Segmenter`.

    ``docs/segments.md`` has the accuracy of the defaults on Weizmann, and
    the command that searches for better ones.
    """
    smoothing: float = 0.25  # time constant of the mean of scores, seconds
    enter: float = 0.4  # smoothed score at which a segment begins
    leave: float = 0.25  # smoothed score below which a segment ends
    shortest: float = 0.6  # minimum duration of a segment, seconds
    gap: float = 0.4  # shorter gaps are closed, seconds
    delay: float = 0.3  # latency of the scores after a change, seconds


DEFAULTS = Settings()


class _Track:
    """A segment that is active, or may continue after a gap."""

    def __init__(self, start: float) -> None:
        self.start = self.end = start
        self.is_active = True
        self.total, self.frames = 0., 0  # of smoothed scores

    @property
    def length(self) -> float:
        return self.end - self.start


class Segmenter:
    """Finds the segments of a stream, each as soon as it has ended.

    Scores are smoothed by an exponential moving average. The class with the
    highest smoothed score begins a segment at ``enter``. The segment ends
    when its score falls below ``leave``, or when another class has reached
    ``enter`` and a higher score. Segments of a class that are less than
    ``gap`` apart are merged, those shorter than ``shortest`` are dropped, and
    times are shifted back by ``delay``. Segments of a multi-label model are
    found by class, and may overlap. The segments depend only on the scores
    and times, live or not.

    Args:
        classes (Sequence[str]): Names, in the order of the scores.
        settings (Settings): Thresholds and times.
        background (Sequence[str], optional): Classes without segments.
            Defaults to None: those of ``BACKGROUND``, ignoring case.
        multi_label (bool): Whether classes are independent of each other.
            Defaults to False.

    Raises:
        ValueError: If a setting is out of range, or a class is unknown.
    """

    def __init__(self,
                 classes: Sequence[str],
                 settings: Settings = DEFAULTS,
                 background: Optional[Sequence[str]] = None,
                 multi_label: bool = False) -> None:
        for name, value in settings._asdict().items():
            if not 0 <= value < math.inf:
                raise ValueError(f'{name} must be at least 0, got {value}')
        if settings.leave > settings.enter:
            raise ValueError(f'leave must not be above enter, got '
                             f'{settings.leave} and {settings.enter}')
        unknown = [name for name in background or () if name not in classes]
        if unknown:
            raise ValueError(f'no class {", ".join(unknown)}; classes are '
                             f'{", ".join(classes)}')
        if background is None:
            background = [c for c in classes if c.lower() in BACKGROUND]
        self.classes, self.settings = classes, settings
        self.multi_label = multi_label
        self.background = {classes.index(name) for name in background}
        self._scores: Optional[np.ndarray] = None  # smoothed
        self._tracks: Dict[int, _Track] = {}  # by class
        self._first = self._last = self._step = 0.

    def update(self, seconds: float, scores: np.ndarray) -> List[Segment]:
        """Process the scores after a frame.

        Args:
            seconds (float): Time of the frame; times increase.
            scores (np.ndarray): Scores of all classes, ``(classes, )``.

        Returns:
            list[Segment]: Segments that have ended, in order.
        """
        ended: List[Segment] = []
        if self._scores is not None:
            step = seconds - self._last
            if step > LONGEST_PAUSE or step < 0:
                ended = self.close()
            else:
                self._step = step
        if self._scores is None:
            self._first, self._scores = seconds, np.array(scores, float)
        else:
            tau = self.settings.smoothing
            share = 1 - math.exp(-self._step / tau) if tau else 1.
            self._scores += share * (np.asarray(scores) - self._scores)
        self._last = seconds
        active = self._active(self._scores)
        for index in sorted(active):
            track = self._tracks.get(index)
            if track is None:
                track = self._tracks[index] = _Track(seconds)
            track.is_active = True
            track.total += self._scores[index]
            track.frames += 1
        for index, track in [*self._tracks.items()]:
            if index not in self._tracks:  # ended by another track
                continue
            if track.is_active:
                track.end = seconds
                if index not in active:
                    track.is_active = False
                elif not self.multi_label and self._is_long(track):
                    ended += self._finish(other for other in self._tracks
                                          if other != index)
            elif seconds - track.end > self.settings.gap:
                ended += self._finish([index])
        return ended

    def close(self) -> List[Segment]:
        """End the stream and return its last segments."""
        for track in self._tracks.values():
            if track.is_active:
                track.end = self._last + self._step
        ended = self._finish(self._tracks)
        self._scores, self._step = None, 0.
        return ended

    def _active(self, scores: np.ndarray) -> Set[int]:
        """Return the classes that are active at the last frame."""
        active = {i for i, track in self._tracks.items() if track.is_active}
        enter, leave = self.settings.enter, self.settings.leave
        if self.multi_label:
            return {
                index for index, score in enumerate(scores)
                if index not in self.background and score >=
                (leave if index in active else enter)
            }
        best = int(scores.argmax())
        if scores[best] >= enter:
            active = {best}
        return {
            index for index in active
            if scores[index] >= leave and index not in self.background
        }

    def _is_long(self, track: _Track) -> bool:
        return track.length >= self.settings.shortest

    def _finish(self, indices: Any) -> List[Segment]:
        """End tracks and return their segments, without too short ones."""
        ended, delay = [], self.settings.delay
        for index in [*indices]:
            track = self._tracks.pop(index)
            start, end = max(self._first, track.start - delay), track.end
            if end <= self._last:  # ended before the stream did
                end -= delay
            if self._is_long(track) and start < end:
                ended.append(
                    Segment(start, end, self.classes[index],
                            float(track.total / track.frames)))
        return sorted(ended)


def segments_of(seconds: Sequence[float], scores: Sequence[np.ndarray],
                segmenter: Segmenter) -> List[Segment]:
    """Return all segments of a finished stream, in order of their ends."""
    found = []
    for time, frame_scores in zip(seconds, scores):
        found += segmenter.update(time, frame_scores)
    return found + segmenter.close()


def temporal_iou(a: Segment, b: Segment) -> float:
    """Intersection over union of two segments in time."""
    common = min(a.end, b.end) - max(a.start, b.start)
    return max(0., common) / (max(a.end, b.end) - min(a.start, b.start))


def match(found: Sequence[Segment], true: Sequence[Segment],
          min_iou: float = 0.5) -> List[Tuple[Segment, Segment]]:
    """Match segments of the same class one to one, highest IoU first.

    Args:
        found (Sequence[Segment]): Segments of the model.
        true (Sequence[Segment]): Segments of the ground truth.
        min_iou (float): Minimum IoU of a pair. Defaults to 0.5.
    """
    pairs = sorted(
        ((temporal_iou(a, b), i, j) for i, a in enumerate(found)
         for j, b in enumerate(true) if a.label == b.label), reverse=True)
    matched: List[Tuple[Segment, Segment]] = []
    seen: Tuple[Set[int], Set[int]] = (set(), set())
    for iou, i, j in pairs:
        if iou >= min_iou and i not in seen[0] and j not in seen[1]:
            seen[0].add(i)
            seen[1].add(j)
            matched.append((found[i], true[j]))
    return matched
