# Copyright (c) The mmlcr authors. All rights reserved.
"""Lists are read as they were written, and anything else is refused."""
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError

CLASSES = 100
NAMES = st.text(
    st.characters(codec='utf-8', exclude_categories=['Cc', 'Z']),
    min_size=1,
    max_size=20).filter(lambda name: name[-1] != ',')  # a delimiter
LINES = st.lists(
    st.tuples(NAMES, st.integers(0, 10**9 - 1), st.integers(0, CLASSES - 1)),
    min_size=1,
    max_size=8)


def read(kind: str, path: Path, data: bytes) -> Any:
    """Build the data set of a list, without checking files.

    Nor is its memory packed for workers, for which garbage is collected.
    """
    path.write_bytes(data)
    prefix = 'img' if kind == 'ValidatedRawframeDataset' else 'video'
    return DATASETS.build(
        dict(
            type=kind,
            ann_file=str(path),
            data_prefix={prefix: 'clips'},
            num_classes=CLASSES,
            check_files=False,
            serialize_data=False,
            pipeline=[]))


@given(
    lines=LINES,
    end=st.sampled_from(['\n', '\r\n', '\n\n', ' \n']),
    mark=st.sampled_from(['utf-8', 'utf-8-sig']))
def test_lists_are_read_as_written(lines: List[tuple], end: str, mark: str,
                                   tmp_path: Path) -> None:
    videos = ''.join(f'{name} {label}{end}' for name, _, label in lines)
    clips = read('ValidatedVideoDataset', tmp_path / 'v', videos.encode(mark))
    found = [clips.get_data_info(n) for n in range(len(clips))]
    assert [(c['filename'], c['label']) for c in found
            ] == [(f'clips/{name}', label) for name, _, label in lines]

    frames = ''.join(f'{name} {count} {label}{end}'
                     for name, count, label in lines)
    clips = read('ValidatedRawframeDataset', tmp_path / 'f',
                 frames.encode(mark))
    found = [clips.get_data_info(n) for n in range(len(clips))]
    assert [
        (c['frame_dir'], c['total_frames'], c['label']) for c in found
    ] == [(f'clips/{name}', count, label) for name, count, label in lines]


@pytest.mark.parametrize(
    'kind', ['ValidatedVideoDataset', 'ValidatedRawframeDataset'])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_list_or_refused(kind: str, data: bytes,
                                         tmp_path: Path) -> None:
    path = tmp_path / 'list.txt'
    try:
        clips = read(kind, path, data)
    except ClipError as error:
        assert str(path) in str(error) and '\n' not in str(error)
    else:
        assert 0 < len(clips) <= len(data.splitlines())
