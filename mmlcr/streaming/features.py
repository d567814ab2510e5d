# Copyright (c) The mmlcr authors. All rights reserved.
"""Extract the input of the head, for clips and for frames of streams."""
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
    """Features after each frame of a stream."""
    seconds: np.ndarray  # float64, (T, ); frame numbers without times
    features: np.ndarray  # float32, (T, C)


@torch.no_grad()
def clip_features(model: Any, sample: dict) -> np.ndarray:
    """Extract the features of a clip, the input of ``cls_head``.

    Args:
        model (LCRRecognizer): A recognizer with LCR, in testing mode.
        sample (dict): Sample of the test pipeline, with ``inputs`` of shape
            ``(views, 4, T, height, width)``.

    Returns:
        np.ndarray: Feature of each view, float32, ``(views, C)``.
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
    """Extract the input of ``cls_head`` after each frame of a source.

    There is one window without an end, whatever the recognizer's context.
    Frames are selected at the frame rate of training.

    Args:
        recognizer (StreamRecognizer): Recognizer with a checkpoint, not with
            an ONNX step.
        source (str | PathLike | Iterable[np.ndarray]): Source, see
            :func:`mmlcr.streaming.open_source`.
        fps (float, optional): See :meth:`StreamRecognizer.stream`.

    Returns:
        FrameFeatures: Times and features of ``T`` frames, averaged over the
        views.

    Raises:
        SourceError: If the source does not open, or is empty.
        ValueError: If the recognizer runs an ONNX step.
    """
    step = recognizer.run_step
    if not isinstance(step, TorchStep):
        raise ValueError('an ONNX step has no features, only scores: use the '
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
    """Samples of a data set by index, or the message of the error."""

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
        folder (str): The folder; it is created if it does not exist.
        settings (dict): Settings that the features depend on, written to a
            manifest.

    Raises:
        ValueError: If the folder has features of other settings.
    """

    def __init__(self, folder: str, settings: Dict[str, Any]) -> None:
        self.folder = folder
        path = osp.join(folder, MANIFEST)
        os.makedirs(folder, exist_ok=True)
        if osp.exists(path):
            with open(path, encoding='utf-8') as file:
                known = json.load(file)
            other = [name for name in settings
                     if known.get(name) != settings[name]]
            if other:
                raise ValueError(
                    f'{folder} has features of another {", ".join(other)}: '
                    f'{known.get(other[0])!r}, not {settings[other[0]]!r}')
        atomic_write(json.dumps(settings, indent=1).encode(), path)

    def path(self, clip: str) -> str:
        """Return the file for a clip's path in the list.

        It is never outside of the folder.
        """
        parts = [part for part in clip.replace(os.sep, '/').split('/')
                 if part not in ('', '.', '..')]
        return osp.join(self.folder, *parts) + '.npy'

    def save(self, path: str, array: np.ndarray) -> None:
        """Write an array atomically."""
        os.makedirs(osp.dirname(path), exist_ok=True)
        data = io.BytesIO()
        np.save(data, array)
        atomic_write(data.getvalue(), path)


def times_path(path: str) -> str:
    """Return the path of the frame times that belong to features."""
    return path[:-len('.npy')] + '.times.npy'
