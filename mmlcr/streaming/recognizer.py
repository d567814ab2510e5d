# Copyright (c) The mmlcr authors. All rights reserved.
"""A trained LCR on a stream: one step per frame, with constant memory."""
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
from .pipeline import CROPS, center_view, split_pipeline
from .result import StreamResult
from .step import TorchStep
from .windows import CONTEXTS, Windows

STATE_FORMAT = 2  # version of the format of state_dict()


class StreamRecognizer:
    """Recognize actions frame by frame.

    The frames go through the spatial transforms of the config's pipeline, its
    data preprocessor, backbone and head: after the frames of a clip, the
    scores equal those of the clip.

    There are two contexts. ``'free'`` is one window without an end.
    ``'windowed'`` is two windows of ``clip_len`` frames that start half a
    window apart. The older one gives the scores, so they depend on between
    half and all of the frames that the model was trained with, at twice the
    cost.

    Args:
        config (str | Config): Config of the model.
        checkpoint (str, optional): Checkpoint of the model, or its step as
            exported by ``mmlcr export``, which onnxruntime runs on a
            CPU. Defaults to None: initialised by the config.
        device (str): Defaults to ``'cpu'``.
        context (str): Defaults to ``'windowed'``, which is more accurate and
            reacts sooner to a change of action, as measured by
            ``mmlcr stream-accuracy``.
        fps (float, optional): Frames per second that the model reads.
            Defaults to None: ``stream_fps`` of the config, else one frame
            every ``frame_seconds``, or every ``frame_interval``-th frame,
            whichever the pipeline's sampler has.
        topk (int): Number of classes in a result. Defaults to 5.
        num_streams (int): Number of streams that are stepped together.
            Defaults to 1.
        pipeline (str): Name of the pipeline in the config. Defaults to
            ``'test_pipeline'``.
        crops (str): Which crops of a frame are recognised, where the pipeline
            takes several: ``'center'``, the one in the middle, or ``'all'``,
            at several times the cost. Defaults to ``'center'``.
        maps (bool): Whether results have the model's input, the edge map,
            the retention of each patch and the norms of the state. Defaults
            to False.

    Raises:
        ValueError: If the backbone is not LCR, an argument is out of range,
            or the frame rate is unknown.
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
                 crops: str = 'center',
                 maps: bool = False) -> None:
        if crops not in CROPS:
            raise ValueError(f'crops must be one of {CROPS}, got {crops!r}')
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
        if crops == 'center':
            spatial = center_view(spatial)
        self.clip_len: int = sampler['clip_len']
        self.fps = fps or config.get('stream_fps')
        if self.fps is None and 'frame_seconds' in sampler:
            self.fps = 1 / sampler['frame_seconds']
        self.interval: int = max(1, sampler.get('frame_interval', 1))
        if self.fps is None and 'frame_interval' not in sampler:
            raise ValueError(
                f"{sampler['type']} has no frame rate of its own: set "
                'stream_fps in the config, or fps, to frames per second')
        self.context, self.num_streams = context, num_streams
        self.topk = min(topk, len(self.classes))
        self.maps = maps
        self._transforms = Compose(spatial)
        self.reset()

    def new_stream(self) -> 'StreamRecognizer':
        """Return another stream with the same model and no state."""
        other = copy.copy(self)
        other.reset()
        return other

    def reset(self) -> None:
        """Start a new stream."""
        self._windows = Windows(self.run_step, self.clip_len, self.context)
        self._sizes: List[Tuple[int, ...]] = []
        self._frames = 0

    def step(self,
             frame: np.ndarray,
             seconds: Optional[float] = None) -> StreamResult:
        """Process the next frame.

        Args:
            frame (np.ndarray): RGB, uint8, shape ``(height, width, 3)``.
            seconds (float, optional): Time of the frame. Defaults to None:
                derived from the model's frame rate, if that is known.

        Raises:
            ValueError: If the frame has another type, or another size than
                the frames before.
        """
        return self.step_all([frame], seconds)[0]

    def step_all(self,
                 frames: Sequence[np.ndarray],
                 seconds: Optional[float] = None) -> List[StreamResult]:
        """Process the next frame of each stream, see :meth:`step`."""
        self._check(frames)
        if seconds is None and self.fps is not None:
            seconds = self._frames / self.fps
        views = torch.cat([self.views(image) for image in frames])
        retention = None
        if self.maps:  # from the state before the frame
            retention = self.run_step.retention(views, self._windows.state)
        scores, age = self.take_views(views)
        maps: List[Optional[Maps]] = [None] * len(frames)
        if self.maps:
            maps = [*self._maps(views, retention)]
        number = self._frames
        self._frames += 1
        is_full = age >= self._windows.full_age
        return [
            self._result(image, stream_scores, number, seconds,
                         is_full)._replace(maps=stream_maps)
            for image, stream_scores, stream_maps in zip(frames, scores, maps)
        ]

    def stream(self,
               source: Address,
               *,
               fps: Optional[float] = None,
               live: Optional[bool] = None,
               keep_state: bool = False
               ) -> Generator[StreamResult, None, None]:
        """Process the frames of a source at the model's frame rate.

        Times are those of the container, if it has any. There is one warning
        if the source has a lower frame rate than the model was trained with.
        The state is reset first, and again when a live source broke off and
        was reopened. If a live source delivers several frames during a step,
        the last one is processed, and the others are counted as dropped.

        Args:
            source (str | int | PathLike | Iterable[np.ndarray]): Source, see
                :func:`mmlcr.streaming.open_source`.
            fps (float, optional): Frames per second of a folder or of
                arrays, of which every frame is processed otherwise; for a
                video, it replaces the video's own times.
            live (bool, optional): Whether to drop frames rather than fall
                behind. Defaults to None: for cameras and live streams only.
            keep_state (bool): Whether to continue from the present state, to
                resume a stream. Defaults to False.

        Yields:
            StreamResult: Result after each processed frame.

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
        """Return the state of the stream as tensors and plain types."""
        return dict(
            format=STATE_FORMAT,
            model=self.model_id,
            context=self.context,
            frames=self._frames,
            sizes=[list(size) for size in self._sizes],
            ages=[*self._windows.ages],
            windows=self._windows.tensors())

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Resume a stream; on an error, this stream is unchanged.

        Args:
            state (dict): Return value of :meth:`state_dict`.

        Raises:
            ValueError: If the state belongs to another model, context or
                number of streams, or is not the state of a stream.
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
            self._windows.load(state['windows'], ages, self.device)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'not the state of a stream: {error}') from error
        self._sizes, self._frames = sizes, frames

    def _take(self, frame: Frame) -> StreamResult:
        """Process a frame of a source."""
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
        """Process the next frame of each stream, given as views.

        Args:
            views (Tensor): Output of :meth:`views` for all streams,
                ``(streams * views, 4, 1, height, width)``.

        Returns:
            tuple[np.ndarray, int]: Scores ``(streams, classes)``, and the
            number of frames that they depend on.
        """
        scores, age = self._windows.step(views)
        scores = scores.unflatten(0, (self.num_streams, -1)).mean(1)
        return scores.numpy(), age

    def views(self, image: np.ndarray) -> Tensor:
        """Apply the config's transforms to a frame.

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
              retention: Optional[np.ndarray]) -> Iterator[Maps]:
        """Yield the maps of each stream, from all views and retentions."""
        each = len(views) // self.num_streams
        clips = views[:, :, 0].permute(0, 2, 3, 1).numpy()
        patch_maps: List[np.ndarray] = []
        if retention is not None:
            assert self._windows.state is not None  # after the frame
            norms = (n.cpu().numpy().reshape(retention.shape)
                     for n in self._windows.state.state_norms())
            patch_maps = [retention, *norms]
        for last in range(each - 1, len(views), each):
            yield Maps(
                np.ascontiguousarray(clips[last, ..., :3]),
                np.ascontiguousarray(clips[last, ..., 3]),
                *(values[:, last] for values in patch_maps))

    def _result(self, image: np.ndarray, scores: np.ndarray, frame: int,
                seconds: Optional[float], is_full: bool) -> StreamResult:
        best = np.argsort(-scores, kind='stable')[:self.topk]
        return StreamResult(frame, seconds,
                            tuple(self.classes[i] for i in best),
                            tuple(float(scores[i]) for i in best), is_full,
                            scores, image=image)
