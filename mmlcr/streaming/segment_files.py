# Copyright (c) The mmlcr authors. All rights reserved.
"""Segments of a stream as CSV, JSON or subtitles, valid at any time."""
import csv
import errno
import io
import json
import os
import os.path as osp
from typing import BinaryIO, List, NamedTuple, Sequence

from .result import StreamResult
from .segments import Segment, Segmenter


class _Format(NamedTuple):
    """Text before, between and after the segments of a file."""
    head: str = ''
    between: str = ''
    tail: str = ''


FORMATS = {
    '.csv': _Format(head='start,end,label,score\n'),
    '.json': _Format('[', ',', '\n]\n'),
    '.srt': _Format(between='\n'),
}


class SegmentFiles:
    """Writes each segment of a stream to files as soon as it has ended.

    Args:
        paths (Sequence[str]): ``.csv``, ``.json`` or ``.srt`` (subtitles).
        segmenter (Segmenter): Segmenter of the stream.

    Raises:
        ValueError: If the format is unknown, or a result has no time.
        OSError: If a file can't be written; earlier segments stay intact.
    """

    def __init__(self, paths: Sequence[str], segmenter: Segmenter) -> None:
        for path in paths:
            if osp.splitext(path)[1] not in FORMATS:
                raise ValueError(f'segments are {", ".join(FORMATS)}, got '
                                 f'{path}')
        self.segmenter, self.number = segmenter, 0
        self.files = [_SegmentFile(path) for path in paths]

    def write(self, result: StreamResult) -> None:
        """Write the segments that have ended with this result."""
        if result.seconds is None:
            raise ValueError('segments need the times of frames: set the rate '
                             'of the source')
        self._add(
            self.segmenter.update(result.seconds, result.all_scores))

    def close(self) -> None:
        """Write the segments that last until the end of the stream."""
        try:
            self._add(self.segmenter.close())
        finally:
            for file in self.files:
                file.close()

    def _add(self, segments: List[Segment]) -> None:
        for segment in segments:
            self.number += 1
            for file in self.files:
                file.add(segment, self.number)


class _SegmentFile:
    """One file; each segment overwrites the tail and appends it again."""

    def __init__(self, path: str) -> None:
        self.path, self.suffix = path, osp.splitext(path)[1]
        self.format = FORMATS[self.suffix]
        os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
        self.file: BinaryIO = open(path, 'wb', buffering=0)
        self.end = 0
        self._put(self.format.head)

    def add(self, segment: Segment, number: int) -> None:
        between = self.format.between if number > 1 else ''
        self._put(between + _FORMATTERS[self.suffix](segment, number))

    def close(self) -> None:
        self.file.close()

    def _put(self, text: str) -> None:
        """Insert text before the tail, completely or not at all."""
        data = text.encode()
        with_tail = data + self.format.tail.encode()
        self.file.seek(self.end)
        try:
            if self.file.write(with_tail) != len(with_tail):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.truncate(self.end)
            self.file.seek(self.end)
            self.file.write(self.format.tail.encode())
            raise OSError(error.errno, error.strerror, self.path) from None
        self.end += len(data)


def _as_csv(segment: Segment, number: int) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerow([
        f'{segment.start:.3f}', f'{segment.end:.3f}', segment.label,
        f'{segment.score:.4f}'
    ])
    return text.getvalue()


def _as_json(segment: Segment, number: int) -> str:
    return '\n' + json.dumps(
        dict(
            start=round(segment.start, 3),
            end=round(segment.end, 3),
            label=segment.label,
            score=round(segment.score, 4)),
        ensure_ascii=False)


def _as_srt(segment: Segment, number: int) -> str:
    return (f'{number}\n{_clock(segment.start)} --> {_clock(segment.end)}\n'
            f'{segment.label} ({segment.score:.2f})\n')


_FORMATTERS = {'.csv': _as_csv, '.json': _as_json, '.srt': _as_srt}


def _clock(seconds: float) -> str:
    """Format a time as in SubRip files, ``01:02:03,456``."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return (f'{hours:02}:{minutes:02}:{milliseconds // 1000:02},'
            f'{milliseconds % 1000:03}')
