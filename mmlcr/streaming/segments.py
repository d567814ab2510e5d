# Copyright (c) The mmlcr authors. All rights reserved.
"""From the scores of a stream to segments: what happens from when to when."""
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

# names of classes in which nothing happens, in lower case
BACKGROUND = ('background', 'doing other things', 'no action', 'no gesture',
              'none', 'nothing')
LONGEST_PAUSE = 2.  # seconds without a frame, after which nothing goes on


class Segment(NamedTuple):
    """A class, from when to when."""
    start: float  # seconds of the source
    end: float
    label: str
    score: float  # mean of the smoothed scores


class Settings(NamedTuple):
    """When a class begins and ends.

    ``docs/segments.md`` has what the defaults give on Weizmann, and the
    command that looks for better ones.
    """
    smoothing: float = 0.25  # seconds, time constant of the mean of scores
    enter: float = 0.4  # smoothed score from which a class begins
    leave: float = 0.25  # and below which it ends
    shortest: float = 0.6  # seconds of a segment
    gap: float = 0.4  # seconds between two of a class that are one
    delay: float = 0.3  # seconds by which changes are seen late


DEFAULTS = Settings()


class _Track:
    """A segment of a class that goes on, or may do so after a gap."""

    def __init__(self, start: float) -> None:
        self.start = self.end = start
        self.is_active = True
        self.total, self.frames = 0., 0  # of smoothed scores

    @property
    def length(self) -> float:
        return self.end - self.start


class Segmenter:
    """Segments of a stream, each as soon as it is known to have ended.

    Scores are smoothed by an exponential mean over the past. The class with
    the highest smoothed score begins a segment at ``enter`` and ends it below
    ``leave``, or where another class that has reached ``enter`` is higher.
    Two segments of a class with a short gap between them are one, what is
    shorter than ``shortest`` is left out, and times are set back by ``delay``.
    A model of several labels has segments of each class apart, which may
    overlap. The same frames give the same segments, live or not.

    Args:
        classes (Sequence[str]): Names, in the order of the scores.
        settings (Settings): Thresholds and times.
        background (Sequence[str], optional): Classes that have no segments.
            Defaults to None: those of ``BACKGROUND``, in any case.
        several (bool): Whether classes are independent of each other.
            Defaults to False.

    Raises:
        ValueError: If a setting is out of range, or a class is unknown.
    """

    def __init__(self,
                 classes: Sequence[str],
                 settings: Settings = DEFAULTS,
                 background: Optional[Sequence[str]] = None,
                 several: bool = False) -> None:
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
        self.several = several
        self.background = {classes.index(name) for name in background}
        self._scores: Optional[np.ndarray] = None  # smoothed
        self._tracks: Dict[int, _Track] = {}  # by class
        self._first = self._last = self._step = 0.

    def update(self, seconds: float, scores: np.ndarray) -> List[Segment]:
        """Take the scores after a frame.

        Args:
            seconds (float): Time of the frame, after those before.
            scores (np.ndarray): Of all classes, ``(classes, )``.

        Returns:
            list[Segment]: Those that have ended, in order.
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
            if index not in self._tracks:  # ended by another one
                continue
            if track.is_active:
                track.end = seconds
                if index not in active:
                    track.is_active = False
                elif not self.several and self._is_long(track):
                    ended += self._finish(other for other in self._tracks
                                          if other != index)
            elif seconds - track.end > self.settings.gap:
                ended += self._finish([index])
        return ended

    def close(self) -> List[Segment]:
        """Those that last until the end; the next frame begins anew."""
        for track in self._tracks.values():
            if track.is_active:
                track.end = self._last + self._step
        ended = self._finish(self._tracks)
        self._scores, self._step = None, 0.
        return ended

    def _active(self, scores: np.ndarray) -> Set[int]:
        """Classes that happen at the time of the last frame."""
        going_on = {i for i, track in self._tracks.items() if track.is_active}
        enter, leave = self.settings.enter, self.settings.leave
        if self.several:
            return {
                index for index, score in enumerate(scores)
                if index not in self.background and score >=
                (leave if index in going_on else enter)
            }
        best = int(scores.argmax())
        if scores[best] >= enter:
            going_on = {best}
        return {
            index for index in going_on
            if scores[index] >= leave and index not in self.background
        }

    def _is_long(self, track: _Track) -> bool:
        return track.length >= self.settings.shortest

    def _finish(self, indices: Any) -> List[Segment]:
        """End tracks, those that are too short without a segment."""
        ended, late = [], self.settings.delay
        for index in [*indices]:
            track = self._tracks.pop(index)
            start, end = max(self._first, track.start - late), track.end
            if end <= self._last:  # else it lasts until the stream ends
                end -= late
            if self._is_long(track) and start < end:
                ended.append(
                    Segment(start, end, self.classes[index],
                            float(track.total / track.frames)))
        return sorted(ended)


def segments_of(seconds: Sequence[float], scores: Sequence[np.ndarray],
                segmenter: Segmenter) -> List[Segment]:
    """All segments of a stream that has ended, in order of their ends."""
    found = []
    for at, each in zip(seconds, scores):
        found += segmenter.update(at, each)
    return found + segmenter.close()


def overlap(a: Segment, b: Segment) -> float:
    """Intersection over union of two segments in time."""
    common = min(a.end, b.end) - max(a.start, b.start)
    return max(0., common) / (max(a.end, b.end) - min(a.start, b.start))


def match(found: Sequence[Segment], true: Sequence[Segment],
          least: float = 0.5) -> List[Tuple[Segment, Segment]]:
    """Pairs of segments of the same class, one to one, the best first.

    Args:
        found (Sequence[Segment]): By the model.
        true (Sequence[Segment]): As they are.
        least (float): Intersection over union of a pair. Defaults to 0.5.
    """
    pairs = sorted(
        ((overlap(a, b), i, j) for i, a in enumerate(found)
         for j, b in enumerate(true) if a.label == b.label), reverse=True)
    matched: List[Tuple[Segment, Segment]] = []
    seen: Tuple[Set[int], Set[int]] = (set(), set())
    for share, i, j in pairs:
        if share >= least and i not in seen[0] and j not in seen[1]:
            seen[0].add(i)
            seen[1].add(j)
            matched.append((found[i], true[j]))
    return matched
