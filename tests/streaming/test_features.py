# Copyright (c) The mmlcr authors. All rights reserved.
"""Features are the input of the head, for clips and after each frame."""
import os
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from processes import run_script

from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.features import (
    FeatureFolder,
    clip_features,
    frame_features,
    times_path,
)
from mmlcr.streaming.pipeline import split_pipeline

ROOT = Path(__file__).resolve().parents[2]
# what this project promises of float32, in norm
FLOAT32_TOLERANCE = 1e-5
SMALL = {
    'lcr_motion': {},
    'lcr_weizmann': {},
    'lcr_jester': {'model.backbone.embed_dims': 32,
                   'model.backbone.num_heads': 1,
                   'model.backbone.num_layers': 2,
                   'model.cls_head.in_channels': 64},
    'lcr_k400': {'model.backbone.embed_dims': 32,
                 'model.backbone.num_heads': 1,
                 'model.backbone.num_layers': 2,
                 'model.backbone.init_cfg': None,
                 'model.cls_head.in_channels': 64},
}


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(params=SMALL)
def recognizer(request: pytest.FixtureRequest,
               redraw: Callable) -> StreamRecognizer:
    config = Config.fromfile(ROOT / f'configs/{request.param}.py')
    config.merge_from_dict(SMALL[request.param])
    built = StreamRecognizer(config, context='free', crops='all')
    redraw(built.run_step.model)
    return built


def sample_of(recognizer: StreamRecognizer, frames: np.ndarray,
              num_clips: int = 1) -> dict:
    """Build a sample of consecutive clips of the frames, with all crops."""
    _, spatial = split_pipeline(recognizer.run_step.model.cfg.test_pipeline)
    return Compose(spatial)(
        dict(imgs=list(frames), original_shape=frames.shape[1:3],
             img_shape=frames.shape[1:3], modality='RGB',
             num_clips=num_clips, clip_len=len(frames) // num_clips, label=0))


def test_the_head_turns_features_into_scores(recognizer: StreamRecognizer,
                                             make_frames: Callable) -> None:
    """Scores are the mean of the probabilities of all views."""
    model = recognizer.run_step.model
    sample = sample_of(recognizer, make_frames(8, 64, 96), 2)
    features = clip_features(model, sample)
    assert features.dtype == np.float32
    assert len(features) == len(sample['inputs']) >= 2
    with torch.no_grad():
        scores = model.cls_head(torch.from_numpy(features))
        scores = model.cls_head.probabilities(scores).mean(0)
        expected, = model.test_step(pseudo_collate([sample]))
    assert difference(scores.numpy(), expected.pred_score.numpy()
                      ) < FLOAT32_TOLERANCE


def test_the_last_frame_has_the_features_of_the_clip(
        recognizer: StreamRecognizer, make_frames: Callable) -> None:
    frames = make_frames(6, 64, 96)
    found = frame_features(recognizer, frames, fps=recognizer.fps)
    assert found.features.dtype == np.float32 and len(found.features) == 6
    expected = np.arange(6) / recognizer.fps
    assert found.seconds == pytest.approx(expected)
    for stop in (3, 6):
        clip = clip_features(recognizer.run_step.model,
                             sample_of(recognizer, frames[:stop])).mean(0)
        assert difference(found.features[stop - 1], clip) < FLOAT32_TOLERANCE


# ---- folders


def test_paths_stay_in_the_folder(tmp_path: Path) -> None:
    folder = FeatureFolder(str(tmp_path), {})
    paths = [folder.path(clip) for clip in (
        'a/b.mp4', 'a/b.avi', 'b.mp4', '../../b/c.mp4', '/etc/c.mp4', './d')]
    assert [os.path.relpath(path, tmp_path) for path in paths] == [
        'a/b.mp4.npy', 'a/b.avi.npy', 'b.mp4.npy', 'b/c.mp4.npy',
        'etc/c.mp4.npy', 'd.npy']
    assert times_path(paths[0]).endswith('a/b.mp4.times.npy')


def test_features_of_another_model_are_not_mixed(tmp_path: Path) -> None:
    FeatureFolder(str(tmp_path), dict(model='a', per='clip'))
    FeatureFolder(str(tmp_path), dict(model='a', per='clip'))
    with pytest.raises(ValueError, match="another model: 'a', not 'b'"):
        FeatureFolder(str(tmp_path), dict(model='b', per='clip'))


# ---- the tool


@pytest.fixture
def clips(tmp_path: Path, make_video: Callable) -> Path:
    """Two clips, a file that is no video, and their list."""
    for name in ('one/a.mp4', 'two/a.mp4'):
        make_video(f'videos/{name}', num_frames=20, step=len(name))
    (tmp_path / 'videos/bad.mp4').write_text('no video')
    (tmp_path / 'list.txt').write_text('one/a.mp4 0\ntwo/a.mp4 1\nbad.mp4 2\n')
    return tmp_path


def extract(clips: Path, per: str, *options: object) -> Any:
    return run_script(
        ROOT / 'tools/extract_features.py', ROOT / 'configs/lcr_motion.py',
        'mmlcr://lcr_motion', '--out', 'out', '--per', per, '--ann-file',
        'list.txt', '--data-prefix', 'videos', *options,
        *(('--workers', 0) if per != 'frame' else ()),
        cwd=clips, together=True)


@pytest.mark.parametrize('per', ['clip', 'view', 'frame'])
def test_a_list_is_written(per: str, clips: Path) -> None:
    result = extract(clips, per)
    assert result.returncode == 1, result.stdout  # one is bad
    assert '1 clips could not be read, out/bad_clips.txt' in result.stdout
    bad = (clips / 'out/bad_clips.txt').read_text()
    assert bad.startswith('videos/bad.mp4\t') and bad.count('\n') == 1
    arrays: List[np.ndarray] = [
        np.load(clips / f'out/{name}/a.mp4.npy') for name in ('one', 'two')]
    shape = dict(clip=(128, ), view=(2, 128), frame=(10, 128))[per]
    for array in arrays:
        assert array.shape[-1] == shape[-1] and array.ndim == len(shape)
        assert array.dtype == np.float32 and np.isfinite(array).all()
    assert (arrays[0] != arrays[1]).any()
    times = clips / 'out/one/a.mp4.times.npy'
    assert times.exists() == (per == 'frame')
    if per == 'frame':
        assert len(np.load(times)) == len(arrays[0])
    # finished clips are skipped, those that can be read now are added
    before = (clips / 'out/one/a.mp4.npy').stat().st_mtime_ns
    (clips / 'videos/bad.mp4').write_bytes(
        (clips / 'videos/one/a.mp4').read_bytes())
    again = extract(clips, per)
    assert again.returncode == 0, again.stdout
    assert '3 clips, 2 done before' in again.stdout
    assert (clips / 'out/one/a.mp4.npy').stat().st_mtime_ns == before
    assert np.array_equal(np.load(clips / 'out/bad.mp4.npy'), arrays[0])
    assert (clips / 'out/bad_clips.txt').read_text() == ''
    other = extract(clips, 'clip' if per != 'clip' else 'view')
    assert other.returncode == 1
    assert 'ValueError: out has features of another per' in other.stdout


def test_clips_of_another_folder_are_not_mixed(clips: Path) -> None:
    assert extract(clips, 'clip').returncode == 1  # one is bad
    made = clips / 'out/one/a.mp4.npy'
    before = made.read_bytes()
    (clips / 'videos').rename(clips / 'moved')
    other = extract(clips, 'clip', '--data-prefix', 'moved')
    assert other.returncode == 1
    assert 'features of another data_prefix' in other.stdout
    assert made.read_bytes() == before
