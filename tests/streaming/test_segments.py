# Copyright (c) The mmlcr authors. All rights reserved.
"""Temporal segments of a stream, and their files."""
import csv
import json
import subprocess
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlcr.streaming import (
    Segment,
    Segmenter,
    SegmentFiles,
    Settings,
    StreamResult,
    match,
    segments_of,
)

CLASSES = 'walk', 'wave', 'nothing'
PERIOD = 0.1
PLAIN = Settings(
    smoothing=0, enter=0.5, leave=0.3, shortest=0.3, gap=0.2, delay=0)


def scores_of(text: str, high: float = 0.8) -> List[np.ndarray]:
    """Scores of frames: a, b or c has the high score, a dot none."""
    found = []
    for letter in text:
        scores = np.full(3, 0.1)
        if letter != '.':
            scores['abc'.index(letter)] = high
        found.append(scores)
    return found


def run(text: str, settings: Settings = PLAIN,
        **options: Any) -> List[Tuple[float, float, str]]:
    scores = scores_of(text)
    found = segments_of([PERIOD * t for t in range(len(text))], scores,
                        Segmenter(CLASSES, settings, **options))
    return [(round(s.start, 6), round(s.end, 6), s.label) for s in found]


@pytest.mark.parametrize('text, expected', [
    ('', []),
    ('.....', []),
    ('aaaaa', [(0, 0.5, 'walk')]),
    ('..aaaa..', [(0.2, 0.6, 'walk')]),
    ('aaaabbbb', [(0, 0.4, 'walk'), (0.4, 0.8, 'wave')]),
    ('aaaa.aaaa', [(0, 0.9, 'walk')]),  # a gap
    ('aaaa....aaaa', [(0, 0.4, 'walk'), (0.8, 1.2, 'walk')]),
    ('..aa..', []),  # too short
    ('bbaaaaaa', [(0.2, 0.8, 'walk')]),  # ends as another one goes on
    ('aa.aa...', [(0, 0.5, 'walk')]),  # not both together
    ('aaaabaaaa', [(0, 0.9, 'walk')]),  # what is between them is too short
    ('aaaabbbaaaa', [(0, 0.4, 'walk'), (0.4, 0.7, 'wave'),
                     (0.7, 1.1, 'walk')]),
    ('aaaacccc', [(0, 0.4, 'walk')]),  # a class in which nothing happens
])
def test_segments_of_one_label(text: str, expected: List[tuple]) -> None:
    assert run(text) == expected


def test_a_class_ends_below_another_threshold() -> None:
    """At a score of 0.4, a segment continues, but does not begin."""
    scores = scores_of('aaaa') + scores_of('aaaa', 0.4) + scores_of('....')
    times = [PERIOD * t for t in range(12)]
    segment, = segments_of(times, scores, Segmenter(CLASSES, PLAIN))
    assert segment[:3] == (0, pytest.approx(0.8), 'walk')
    assert segment.score == pytest.approx(0.6)
    assert not segments_of(times[:4], scores[4:8], Segmenter(CLASSES, PLAIN))


def test_multi_label_segments_may_overlap() -> None:
    scores = [np.array([0.9, 0.9 if 3 <= t < 8 else 0.1, 0]) for t in
              range(10)]
    found = segments_of([PERIOD * t for t in range(10)], scores,
                        Segmenter(CLASSES, PLAIN, multi_label=True))
    assert [(round(s.start, 6), round(s.end, 6), s.label) for s in found] == [
        (0, 1, 'walk'), (0.3, 0.8, 'wave')]


def test_smoothing_is_over_the_past() -> None:
    """After one time constant, a step has risen to 1 - 1 / e."""
    segmenter = Segmenter(CLASSES, PLAIN._replace(smoothing=0.5))
    segmenter.update(0., np.zeros(3))
    for number in range(1, 6):
        segmenter.update(number * PERIOD, np.array([1., 0, 0]))
    assert segmenter._scores[0] == pytest.approx(1 - np.exp(-1))


def test_times_are_set_back() -> None:
    late = PLAIN._replace(delay=0.15)
    assert run('aaaabbbb..', late) == [
        (0, 0.25, 'walk'), (0.25, 0.65, 'wave')]
    assert run('aaaabbbb', late)[-1] == (0.25, 0.8, 'wave')  # to the end


def test_a_pause_ends_segments() -> None:
    """A live stream that broke off has such a pause."""
    segmenter = Segmenter(CLASSES, PLAIN)
    times = [0., 0.1, 0.2, 0.3, 60., 60.1, 60.2, 60.3]
    found = segments_of(times, scores_of('aaaaaaaa'), segmenter)
    assert [(s.start, round(s.end, 6)) for s in found] == [
        (0, 0.4), (60, 60.4)]


def test_background_is_chosen() -> None:
    assert run('aaaacccc', background=[])[1][2] == 'nothing'
    assert run('aaaacccc', background=['walk']) == [(0.4, 0.8, 'nothing')]


@pytest.mark.parametrize('options, message', [
    (dict(settings=PLAIN._replace(enter=-1)), 'enter must be at least 0'),
    (dict(settings=PLAIN._replace(gap=float('nan'))), 'gap must be'),
    (dict(settings=PLAIN._replace(leave=0.7)), 'leave must not be above'),
    (dict(background=['run']), 'no class run; classes are walk, wave'),
])
def test_bad_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmenter(CLASSES, **options)


NUMBERS = st.floats(0, 1)


@given(
    scores=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=40),
    gaps=st.lists(st.sampled_from([0.04, 0.1, 0.5, 3.]), min_size=40,
                  max_size=40),
    settings=st.builds(
        lambda smoothing, enter, share, *times: Settings(
            smoothing, enter, share * enter, *times),
        st.sampled_from([0., 0.3]), NUMBERS, NUMBERS, NUMBERS, NUMBERS,
        st.sampled_from([0., 0.25])),
    multi_label=st.booleans())
def test_properties(scores: List[List[float]], gaps: List[float],
                    settings: Settings, multi_label: bool) -> None:
    times = np.cumsum(gaps)[:len(scores)].tolist()
    arrays = [*map(np.array, scores)]
    segmenter = Segmenter(CLASSES, settings, multi_label=multi_label)
    found, ended = [], []
    for seconds, each in zip(times, arrays):
        before = each.copy()
        ended = segmenter.update(seconds, each)
        assert (each == before).all()
        assert all(s.end <= seconds for s in ended)  # known to have ended
        found += ended
    found += segmenter.close()
    again = Segmenter(CLASSES, settings, multi_label=multi_label)
    assert segments_of(times, arrays, again) == found  # offline
    for segment in found:
        assert times[0] <= segment.start < segment.end <= times[-1] + 2
        assert segment.label != 'nothing'
        assert settings.leave - 1e-9 <= segment.score <= 1 + 1e-9
        if segment.start > times[0] + settings.delay:
            # times are set back alike, but for the end of the stream
            assert segment.end - segment.start >= settings.shortest - 1e-9
    for label in CLASSES:
        chosen = [s for s in found if s.label == label or not multi_label]
        assert chosen == sorted(chosen)
        assert all(a.end <= b.start + settings.delay + 1e-9
                   for a, b in zip(chosen, chosen[1:]))


# ---- matching with the ground truth


def segments(*parts: tuple) -> Sequence[Segment]:
    return [Segment(*part, 1.) for part in parts]


def test_pairs_are_one_to_one_and_of_a_class() -> None:
    true = segments((0, 4, 'walk'), (4, 8, 'wave'), (8, 10, 'walk'))
    found = segments((0, 1.9, 'walk'), (2, 4, 'walk'), (4, 8, 'walk'),
                     (5, 8, 'wave'), (8.5, 10.5, 'walk'))
    assert match(found, true) == [(found[3], true[1]), (found[4], true[2]),
                                  (found[1], true[0])]
    assert match(found, true, 0.7) == [(found[3], true[1])]
    assert match([], true) == match(found, []) == []


# ---- files


def result(number: int, scores: np.ndarray) -> StreamResult:
    return StreamResult(number, number * PERIOD, (), (), True, scores)


def write(folder: Path, text: str, names: Sequence[str] = (
        'a.csv', 'a.json', 'a.srt'), close: bool = True) -> SegmentFiles:
    classes = 'go, "left"', 'ünïcödé 走', 'nothing'
    files = SegmentFiles([str(folder / name) for name in names],
                         Segmenter(classes, PLAIN))
    for number, scores in enumerate(scores_of(text)):
        files.write(result(number, scores))
    if close:
        files.close()
    return files


@pytest.mark.parametrize('close', [True, False])
def test_files_are_valid_at_any_time(close: bool, tmp_path: Path) -> None:
    write(tmp_path / 'new', 'aaaa....bbbbbb....aaaaa....bbb', close=close)
    expected = [[0, 0.4, 'go, "left"', 0.8], [0.8, 1.4, 'ünïcödé 走', 0.8],
                [1.8, 2.3, 'go, "left"', 0.8], [2.7, 3, 'ünïcödé 走', 0.8]]
    expected = expected[:4 if close else 3]
    with open(tmp_path / 'new/a.csv', newline='', encoding='utf-8') as file:
        rows = [*csv.reader(file)]
    assert rows[0] == ['start', 'end', 'label', 'score']
    assert [[float(a), float(b), c, float(d)]
            for a, b, c, d in rows[1:]] == expected
    data = json.loads((tmp_path / 'new/a.json').read_text('utf-8'))
    assert [[*each.values()] for each in data] == expected
    srt = (tmp_path / 'new/a.srt').read_text('utf-8')
    assert srt.startswith('1\n00:00:00,000 --> 00:00:00,400\n'
                          'go, "left" (0.80)\n\n2\n00:00:00,800 --> ')
    assert srt.count('-->') == len(expected)


def test_files_without_segments(tmp_path: Path) -> None:
    write(tmp_path, '....')
    assert json.loads((tmp_path / 'a.json').read_text()) == []
    assert (tmp_path / 'a.csv').read_text() == 'start,end,label,score\n'
    assert (tmp_path / 'a.srt').read_text() == ''


def test_subtitles_are_read_by_players(tmp_path: Path) -> None:
    import av
    write(tmp_path, 'aaaa....bbbb', ['a.srt'])
    with av.open(str(tmp_path / 'a.srt')) as file:
        times = [float(packet.pts * packet.time_base)
                 for packet in file.demux() if packet.size]
    assert times == pytest.approx([0, 0.8])


def test_long_streams_have_hours(tmp_path: Path) -> None:
    files = SegmentFiles([str(tmp_path / 'a.srt')], Segmenter(CLASSES, PLAIN))
    for number, scores in enumerate(scores_of('aaaa')):
        files.write(result(36000 + 123 * 600 + 58 * 10 + number, scores))
    files.close()
    assert '03:03:58,000 --> 03:03:58,400' in (tmp_path / 'a.srt').read_text()


def test_a_full_disk_leaves_whole_files(tmp_path: Path) -> None:
    """A segment that does not fit on the disk is an error, and not left."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs',
                       str(disk)], capture_output=True).returncode:
        pytest.skip('no small disk can be mounted')
    try:
        files = write(disk, 'aaaa....', ['a.json'], close=False)
        with pytest.raises(OSError, match='No space left.*a.json'):
            for _ in range(2000):
                files._add([Segment(0, 1, 'walk', 0.5)])
        data = json.loads((disk / 'a.json').read_text())
        assert len(data) > 100 and data[-1]['label'] == 'walk'
        files.files[0].close()
    finally:
        subprocess.run(['umount', str(disk)], check=True)


def test_bad_paths_and_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'\.csv, \.json, \.srt, got a.txt'):
        SegmentFiles(['a.txt'], Segmenter(CLASSES))
    files = SegmentFiles([str(tmp_path / 'a.csv')], Segmenter(CLASSES))
    with pytest.raises(ValueError, match='need the times of frames'):
        files.write(result(0, np.zeros(3))._replace(seconds=None))
