# Copyright (c) The mmlcr authors. All rights reserved.
"""A trained LCR on a stream: a step a frame, a memory that does not grow."""
import copy
import time
from typing import (
    Any,
    Dict,
    Generator,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.apis import init_recognizer
from mmlcr.datasets.class_names import check_number_of_names, class_names
from mmlcr.deploy.onnx_step import OnnxStep, fingerprint, is_onnx
from mmlcr.engine import find_config, validate_class_names
from mmlcr.models.lcr import LCR
from mmlcr.visualization.maps import Maps
from .frames import Frame, FrameRateFilter
from .live import LatestFrameReader
from .opening import Address, open_source
from .pipeline import split_pipeline
from .result import StreamResult
from .step import TorchStep
from .windows import CONTEXTS, Windows

STATE_FORMAT = 2  # of state_dict


class StreamRecognizer:
    """Recognize actions frame by frame.

    The frames go through the spatial transforms of the config's pipeline, its
    data preprocessor, backbone and head: after the frames of a clip the scores
    are those of the clip.

    There are two contexts. ``'free'`` is one memory without an end.
    ``'windowed'`` is two memories of ``clip_len`` frames that begin half of
    that apart; the older one gives the scores, which thus rest on half to all
    of the frames that the model was trained with, at twice the cost.

    Args:
        config (str | Config): Of the model.
        checkpoint (str, optional): Of the model, or a step of it that
            ``mmlcr export`` wrote, which onnxruntime then runs on a
            CPU. Defaults to None: as initialised.
        device (str): Defaults to ``'cpu'``.
        context (str): Defaults to ``'windowed'``, which is more often right,
            and sooner after a change of action: ``mmlcr stream-accuracy``.
        fps (float, optional): Frames a second that the model is to see.
            Defaults to None: ``stream_fps`` of the config, else one every
            ``frame_seconds`` or every ``frame_interval``-th frame of a source,
            whichever the pipeline's sampler has.
        topk (int): Classes in a result. Defaults to 5.
        num_streams (int): Streams whose frames come together. Defaults to 1.
        pipeline (str): The pipeline of the config. Defaults to
            ``'test_pipeline'``; where that takes several crops,
            ``'val_pipeline'`` takes one, at a fraction of the cost.
        maps (bool): Whether results have the picture that the model reads,
            its edge map, the retention of each patch and the norms of its
            state. Defaults to False.

    Raises:
        ValueError: If the model is no LCR, an argument does not fit, or the
            config tells nothing about the rate.
    """

    CONTEXTS = CONTEXTS

    def __init__(self,
                 config: Union[str, Config],
                 checkpoint: Optional[str] = None,
                 *,
                 device: str = 'cpu',
                 context: str = 'windowed',
                 fps: Optional[float] = None,
                 topk: int = 5,
                 num_streams: int = 1,
                 pipeline: str = 'test_pipeline',
                 maps: bool = False) -> None:
        if context not in CONTEXTS:
            raise ValueError(f'context must be one of {CONTEXTS}, got '
                             f'{context!r}')
        for name, value in (('topk', topk), ('num_streams', num_streams),
                            ('fps', fps)):
            if value is not None and not value > 0:
                raise ValueError(f'{name} must be positive, got {value}')
        if not isinstance(config, Config):
            config = Config.fromfile(find_config(config))
        init_default_scope(config.get('default_scope', 'mmaction'))
        steps = config.get(pipeline)
        if steps is None:
            raise ValueError(f'the config has no {pipeline}')
        self.run_step: Union[TorchStep, OnnxStep]
        self.device = torch.device(device)
        if is_onnx(checkpoint):
            if self.device.type != 'cpu':
                raise ValueError('an ONNX step runs on a CPU, got device='
                                 f'{device}')
            step = OnnxStep(checkpoint)
            self.run_step, self.model_id = step, step.metadata['model']
            self.classes = check_number_of_names(
                validate_class_names(step.metadata.get('classes'), checkpoint),
                config.model.cls_head.num_classes, checkpoint)
        else:
            model = init_recognizer(config, checkpoint, device=device)
            if not isinstance(model.backbone, LCR):
                raise ValueError('streams need the backbone LCR, got '
                                 f'{type(model.backbone).__name__}')
            self.run_step = TorchStep(model)
            self.model_id = fingerprint(model)
            self.classes = class_names(config, checkpoint)
        self.multi_class = bool(config.model.cls_head.get('multi_class'))
        sampler, spatial = split_pipeline(steps)
        self.clip_len: int = sampler['clip_len']
        self.fps = fps or config.get('stream_fps')
        if self.fps is None and 'frame_seconds' in sampler:
            self.fps = 1 / sampler['frame_seconds']
        self.interval: int = max(1, sampler.get('frame_interval', 1))
        if self.fps is None and 'frame_interval' not in sampler:
            raise ValueError(
                f"{sampler['type']} takes frames from all of a video: set "
                'stream_fps in the config, or fps, to how many a second')
        self.context, self.num_streams = context, num_streams
        self.topk = min(topk, len(self.classes))
        self.maps = maps
        self._transforms = Compose(spatial)
        self.reset()

    def new_stream(self) -> 'StreamRecognizer':
        """Another stream through the same model, with an empty memory."""
        other = copy.copy(self)
        other.reset()
        return other

    def reset(self) -> None:
        """Forget all frames."""
        self._memory = Windows(self.run_step, self.clip_len, self.context)
        self._sizes: List[Tuple[int, ...]] = []
        self._frames = 0

    def step(self,
             frame: np.ndarray,
             seconds: Optional[float] = None) -> StreamResult:
        """Take the next frame.

        Args:
            frame (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.
            seconds (float, optional): Its time. Defaults to None: by the
                model's rate, if that is known.

        Raises:
            ValueError: If it has another type, or another size than the
                frames before.
        """
        return self.step_all([frame], seconds)[0]

    def step_all(self,
                 frames: Sequence[np.ndarray],
                 seconds: Optional[float] = None) -> List[StreamResult]:
        """Take the next frame of each stream; all else as of :meth:`step`."""
        self._check(frames)
        if seconds is None and self.fps is not None:
            seconds = self._frames / self.fps
        views = torch.cat([self.views(image) for image in frames])
        shares = None
        if self.maps:  # from the state before the frame
            shares = self.run_step.retention(views, self._memory.state)
        scores, age = self.take_views(views)
        maps: List[Optional[Maps]] = [None] * len(frames)
        if self.maps:
            maps = [*self._maps(views, shares)]
        number = self._frames
        self._frames += 1
        return [
            self._result(image, of_one, number, seconds,
                         age >= self._memory.full_age)._replace(maps=of_image)
            for image, of_one, of_image in zip(frames, scores, maps)
        ]

    def stream(self,
               source: Address,
               *,
               fps: Optional[float] = None,
               live: Optional[bool] = None,
               keep_state: bool = False
               ) -> Generator[StreamResult, None, None]:
        """Results for the frames of a source that are due.

        Times are those of the container, where it has any. A source with fewer
        frames a second than the model was trained on is warned of once. The
        memory begins anew, also where a live source broke off and was
        opened again. A live source is not waited for: of the frames that come
        during a step the last is taken, and the others are counted.

        Args:
            source (str | int | PathLike | Iterable[np.ndarray]): As of
                :func:`mmlcr.streaming.open_source`.
            fps (float, optional): Of a folder or of arrays, which are taken
                frame by frame without; of a video in place of its own times.
            live (bool, optional): Whether to drop frames rather than fall
                behind. Defaults to None: of cameras and live streams.
            keep_state (bool): Whether the first frame continues from the
                present state, as of a stream that was moved. Defaults to
                False.

        Yields:
            StreamResult: After each frame that is taken.

        Raises:
            SourceError: If the source does not open, is empty, or broke off.
            ValueError: If a frame has another size than those before.
        """
        if self.num_streams != 1:
            raise ValueError('stream() reads one source; step_all() takes '
                             f'the frames of num_streams={self.num_streams}')
        opened = open_source(source, fps)
        frame_filter = FrameRateFilter(self.fps, self.interval)
        frames: Iterable[Frame]
        if live if live is not None else opened.is_live:
            frames = LatestFrameReader(opened, frame_filter)
        else:
            frames = filter(frame_filter.is_due, opened)
        for frame in frames:
            if frame.is_first and not keep_state:
                self.reset()
            keep_state = False
            result = self._take(frame)
            if isinstance(frames, LatestFrameReader):
                result = result._replace(dropped=frames.dropped)
            yield result

    def state_dict(self) -> Dict[str, Any]:
        """All that a stream needs to continue elsewhere, as plain types."""
        return dict(
            format=STATE_FORMAT,
            model=self.model_id,
            context=self.context,
            frames=self._frames,
            sizes=[list(size) for size in self._sizes],
            ages=[*self._memory.ages],
            windows=self._memory.tensors())

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue a stream; an error leaves this one as it is.

        Args:
            state (dict): Of :meth:`state_dict`.

        Raises:
            ValueError: If it is of another model, context or number of
                streams, or is not such a state.
        """
        expected = self.state_dict()
        missing = expected.keys() - (state if isinstance(state, dict) else {})
        if missing:
            raise ValueError('not the state of a stream: there is no '
                             f'{sorted(missing)}')
        for name in 'format', 'model', 'context':
            if state[name] != expected[name]:
                raise ValueError(f'the state of a stream of another {name}: '
                                 f'{state[name]!r}, not {expected[name]!r}')
        if state['sizes'] and len(state['sizes']) != self.num_streams:
            raise ValueError(f"the state of {len(state['sizes'])} streams, "
                             f'not of {self.num_streams}')

        try:
            ages = [int(age) for age in state['ages']]
            sizes = [tuple(size) for size in state['sizes']]
            frames = int(state['frames'])
            self._memory.load(state['windows'], ages, self.device)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'not the state of a stream: {error}') from error
        self._sizes, self._frames = sizes, frames

    def _take(self, frame: Frame) -> StreamResult:
        """A source's frame."""
        try:
            result = self.step(frame.image, frame.seconds)
        except ValueError as error:
            raise ValueError(f'frame {frame.number}: {error}') from None
        delay = None
        if frame.arrived is not None:
            delay = time.monotonic() - frame.arrived
        return result._replace(
            frame=frame.number, seconds=frame.seconds, delay=delay)

    def _check(self, frames: Sequence[np.ndarray]) -> None:
        if len(frames) != self.num_streams:
            raise ValueError(f'{len(frames)} frames for '
                             f'{self.num_streams} streams')
        for index, image in enumerate(frames):
            if (not isinstance(image, np.ndarray) or image.dtype != np.uint8
                    or image.ndim != 3 or image.shape[2] != 3):
                found = getattr(image, 'dtype', type(image).__name__)
                raise ValueError(
                    'a frame must be uint8 of shape (height, width, 3), got '
                    f"{found} of shape {getattr(image, 'shape', None)}")
            if self._sizes and self._sizes[index] != image.shape[:2]:
                before = 'x'.join(map(str, self._sizes[index]))
                raise ValueError(
                    f'a frame of {image.shape[0]}x{image.shape[1]} in stream '
                    f'{index}, whose frames were {before} (height x width)')
        self._sizes = [image.shape[:2] for image in frames]

    def take_views(self, views: Tensor) -> Tuple[np.ndarray, int]:
        """Take the next frame of each stream, as :meth:`views` gives it.

        Args:
            views (Tensor): Of all streams, ``(streams * views, 4, 1, height,
                width)``.

        Returns:
            tuple[np.ndarray, int]: Scores ``(streams, classes)``, and on how
            many frames they rest.
        """
        scores, age = self._memory.step(views)
        scores = scores.unflatten(0, (self.num_streams, -1)).mean(1)
        return scores.numpy(), age

    def views(self, image: np.ndarray) -> Tensor:
        """What the model reads of a frame: by the config's transforms.

        Args:
            image (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.

        Returns:
            Tensor: RGB and edge map of each crop, uint8, shape
            ``(views, 4, 1, height, width)``.
        """
        results = self._transforms(
            dict(
                imgs=[image],
                original_shape=image.shape[:2],
                img_shape=image.shape[:2],
                modality='RGB',
                num_clips=1,
                clip_len=1,
                label=-1))
        return results['inputs']

    def _maps(self, views: Tensor,
              shares: Optional[np.ndarray]) -> Iterator[Maps]:
        """Maps of each stream after the frame; ``shares`` is of all views."""
        each = len(views) // self.num_streams
        clips = views[:, :, 0].permute(0, 2, 3, 1).numpy()
        of_patches: List[np.ndarray] = []
        if shares is not None:
            assert self._memory.state is not None  # after the frame
            norms = (n.cpu().numpy().reshape(shares.shape)
                     for n in self._memory.state.state_norms())
            of_patches = [shares, *norms]
        for last in range(each - 1, len(views), each):
            yield Maps(
                np.ascontiguousarray(clips[last, ..., :3]),
                np.ascontiguousarray(clips[last, ..., 3]),
                *(of_all[:, last] for of_all in of_patches))

    def _result(self, image: np.ndarray, scores: np.ndarray, frame: int,
                seconds: Optional[float], is_full: bool) -> StreamResult:
        best = np.argsort(-scores, kind='stable')[:self.topk]
        return StreamResult(frame, seconds,
                            tuple(self.classes[i] for i in best),
                            tuple(float(scores[i]) for i in best), is_full,
                            scores, image=image)
