# Copyright (c) The mmlcr authors. All rights reserved.
"""VideoInit and VideoDecode in place of decord's transforms."""
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmlcr.video import SourceError


def run(path: Path, kind: str = 'Video', **sampling: Any) -> dict:
    init_default_scope('mmaction')
    sampling = dict(type='SampleFrames', clip_len=4, frame_interval=2,
                    num_clips=2, test_mode=True, **sampling)
    pipeline = Compose([dict(type=f'{kind}Init'), sampling,
                        dict(type=f'{kind}Decode')])
    return pipeline(dict(filename=str(path), start_index=0, modality='RGB'))


def test_results_are_those_of_decord(make_video: Callable) -> None:
    pytest.importorskip('decord')
    path = make_video(num_frames=13)
    ours, theirs = run(path), run(path, 'Decord')
    assert np.array_equal(ours['imgs'], theirs['imgs'])
    for key in ('total_frames', 'avg_fps', 'original_shape', 'img_shape'):
        assert ours[key] == pytest.approx(theirs[key])
    assert np.array_equal(ours['frame_inds'], theirs['frame_inds'])
    assert ours['frame_times'] == pytest.approx(np.arange(13) / 25)
    assert 'video_reader' not in ours


def test_repeated_frames_may_be_changed_in_place(make_video: Callable) -> None:
    images = run(make_video(num_frames=1))['imgs']
    images[0][:] = 0
    assert all(image.any() for image in images[1:])


def test_a_path_without_a_suffix_is_an_mp4(make_video: Callable) -> None:
    path = make_video('clip.mp4')
    assert len(run(path.with_suffix(''))['imgs']) == 8


def test_files_of_another_backend(make_video: Callable) -> None:
    init_default_scope('mmaction')
    path = make_video()
    pipeline = Compose([dict(type='VideoInit', io_backend='local'),
                        dict(type='SampleFrames', clip_len=4),
                        dict(type='VideoDecode')])
    assert len(pipeline(dict(filename=str(path), start_index=0))['imgs']) == 4
    assert "io_backend='local'" in repr(pipeline)


def test_what_does_not_open_is_named(tmp_path: Path) -> None:
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(SourceError, match='text.mp4: not a video'):
        run(tmp_path / 'text.mp4')
