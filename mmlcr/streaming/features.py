# Copyright (c) The mmlcr authors. All rights reserved.
"""Features of clips and of streams: what the head reads, as arrays."""
import io
import json
import os
import os.path as osp
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import Dataset

from mmlcr.datasets import ClipError
from mmlcr.engine import atomic_write
from .frames import FrameRateFilter
from .opening import Address, open_source
from .recognizer import StreamRecognizer
from .step import TorchStep

MANIFEST, BAD_CLIPS = 'manifest.json', 'bad_clips.txt'


class FrameFeatures(NamedTuple):
    """Features of a stream after each of its frames."""
    seconds: np.ndarray  # float64, (T, ); by number where nobody knows
    features: np.ndarray  # float32, (T, C)


@torch.no_grad()
def clip_features(model: Any, sample: dict) -> np.ndarray:
    """What the head reads of a clip.

    Args:
        model (LCRRecognizer): A recognizer with LCR, in testing mode.
        sample (dict): Of the test pipeline, ``inputs`` ``(views, 4, T, height,
            width)``.

    Returns:
        np.ndarray: Of each view, float32, ``(views, C)``; of these
        ``cls_head`` makes the scores before softmax or sigmoid.
    """
    data = model.data_preprocessor(pseudo_collate([sample]), False)
    feature, _ = model.extract_feat(
        data['inputs'], stage='neck', data_samples=data['data_samples'],
        test_mode=True)
    return feature.float().cpu().numpy()


@torch.no_grad()
def frame_features(recognizer: StreamRecognizer,
                   source: Address,
                   fps: Optional[float] = None) -> FrameFeatures:
    """What the head reads after each frame of a source.

    One memory runs on, whatever the context of the recognizer. Frames are
    those that a stream takes, at the rate of training.

    Args:
        recognizer (StreamRecognizer): Of a checkpoint, not of an ONNX step.
        source (str | PathLike | Iterable[np.ndarray]): As of
            :func:`mmlcr.streaming.opening.open_source`.
        fps (float, optional): As of :meth:`StreamRecognizer.stream`.

    Returns:
        FrameFeatures: Of ``T`` frames; the mean of the views where there are
        several.

    Raises:
        SourceError: If the source does not open, or is empty.
        ValueError: If the recognizer runs an ONNX step.
    """
    step = recognizer.run_step
    if not isinstance(step, TorchStep):
        raise ValueError('an ONNX step gives scores alone: take the '
                         'checkpoint')
    due = FrameRateFilter(recognizer.fps, recognizer.interval).is_due
    seconds: List[float] = []
    features: List[np.ndarray] = []
    state: Any = None
    for frame in filter(due, open_source(source, fps)):
        feature, state = step.feature(recognizer.views(frame.image), state)
        seconds.append(
            frame.number if frame.seconds is None else frame.seconds)
        features.append(feature.float().mean(0).cpu().numpy())
    return FrameFeatures(np.array(seconds), np.stack(features))


class Samples(Dataset):
    """Samples of a data set by number, or why there is none."""

    def __init__(self, dataset: Any, numbers: List[int]) -> None:
        self.dataset, self.numbers = dataset, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Tuple[int, Union[dict, str]]:
        number = self.numbers[index]
        try:
            return number, self.dataset[number]
        except ClipError as error:
            return number, str(error)


class FeatureFolder:
    """A folder of ``.npy`` files that mirrors the paths of a list.

    Args:
        folder (str): Is made where it is not there.
        made_by (dict): What the features depend on; a folder of others is
            refused.

    Raises:
        ValueError: If it has features that were made in another way.
    """

    def __init__(self, folder: str, made_by: Dict[str, Any]) -> None:
        self.folder = folder
        path = osp.join(folder, MANIFEST)
        os.makedirs(folder, exist_ok=True)
        if osp.exists(path):
            with open(path, encoding='utf-8') as file:
                known = json.load(file)
            other = [name for name in made_by
                     if known.get(name) != made_by[name]]
            if other:
                raise ValueError(
                    f'{folder} has features of another {", ".join(other)}: '
                    f'{known.get(other[0])!r}, not {made_by[other[0]]!r}')
        atomic_write(json.dumps(made_by, indent=1).encode(), path)

    def path(self, clip: str) -> str:
        """The file of a clip, by its path in the list.

        It is never outside of the folder.
        """
        parts = [part for part in clip.replace(os.sep, '/').split('/')
                 if part not in ('', '.', '..')]
        return osp.join(self.folder, *parts) + '.npy'

    def save(self, path: str, array: np.ndarray) -> None:
        """Write an array, all of it or nothing."""
        os.makedirs(osp.dirname(path), exist_ok=True)
        data = io.BytesIO()
        np.save(data, array)
        atomic_write(data.getvalue(), path)


def times_path(path: str) -> str:
    """Where the times of frames are, beside their features."""
    return path[:-len('.npy')] + '.times.npy'
