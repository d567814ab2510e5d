# Copyright (c) The mmlcr authors. All rights reserved.
"""Folders of frames, and arrays, in MMAction2's inference."""
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmaction.apis import MMAction2Inferencer, inference_recognizer
from mmaction.registry import MODELS
from mmlcr.transforms import RawFrameInit

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture
def model() -> Any:
    config = Config.fromfile(CONFIGS / 'lcr_jester.py')
    config.merge_from_dict({
        'model.backbone.embed_dims': 32, 'model.backbone.num_heads': 1,
        'model.backbone.num_layers': 1, 'model.cls_head.in_channels': 64})
    built = MODELS.build(config.model).eval()
    built.cfg = config
    return built


@pytest.fixture
def folder(tmp_path: Path, make_frames: Callable) -> Path:
    for number, frame in enumerate(make_frames(5, 64, 96), 1):
        cv2.imwrite(str(tmp_path / f'{number:05}.jpg'), frame)
    (tmp_path / '._00001.jpg').touch()
    (tmp_path / 'notes.txt').touch()
    return tmp_path


def test_a_folder_is_counted(folder: Path) -> None:
    found = RawFrameInit()(dict(filename=str(folder), start_index=0))
    assert found['frame_dir'] == str(folder) and found['total_frames'] == 5
    assert found['filename_tmpl'].format(found['start_index']) == '00001.jpg'


def test_lengths_of_a_list_are_kept() -> None:
    listed = dict(total_frames=3, frame_dir='a', filename_tmpl='x{}')
    assert RawFrameInit()(dict(listed)) == listed


def test_inference_of_a_folder(model: Any, folder: Path) -> None:
    result = inference_recognizer(model, str(folder))
    assert result.pred_score.shape == (27, )
    assert torch.isfinite(result.pred_score).all()


def test_a_video_is_refused_by_name(model: Any, make_video: Callable,
                                    tmp_path: Path) -> None:
    path = str(make_video('clip.mp4'))
    with pytest.raises(ValueError, match='clip.mp4: this config reads folders '
                       'of frames.*lcr_jester_videos.py'):
        inference_recognizer(model, path)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: no numbered images'):
        inference_recognizer(model, str(tmp_path / 'empty'))


def test_an_array_through_inference(make_frames: Callable,
                                    make_video: Callable) -> None:
    """An array as input of the pipeline, and of the inferencer."""
    config = Config.fromfile(CONFIGS / 'lcr_motion.py')
    built = MODELS.build(config.model).eval()
    built.cfg = config
    frames = make_frames(12, 64, 64)
    data = dict(array=frames, total_frames=12, start_index=0, label=-1,
                modality='RGB')
    result = inference_recognizer(built, data)
    assert result.pred_score.shape == (12, )
    inferencer = MMAction2Inferencer(
        str(CONFIGS / 'lcr_motion.py'), device='cpu', input_format='array')
    found = inferencer(frames)['predictions'][0]
    assert np.isfinite(found['rec_scores'][0]).all()
