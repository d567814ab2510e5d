# Copyright (c) The mmlcr authors. All rights reserved.
"""A trained LCR on a stream: a step a frame, a memory that does not grow."""
import argparse
import copy
import time
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.apis import init_recognizer
from mmlcr.engine import checked_names
from mmlcr.layers import LayerState
from mmlcr.models.lcr import LCR, LCRState
from mmlcr.models.lcr_data_preprocessor import LCRDataPreprocessor
from .cam import grad_cam
from .launch import add_config_arguments, find_config, load_config
from .maps import Maps
from .names import check_number_of_names, class_names
from .onnx_step import OnnxStep, fingerprint, is_onnx, view_scores
from .sources import (
    Address,
    Frame,
    FrameRateFilter,
    LatestFrameReader,
    open_source,
)

STATE_FORMAT = 1  # of state_dict


class StreamResult(NamedTuple):
    """What is known after a frame."""
    frame: int  # its number in the source, from zero
    seconds: Optional[float]  # its time, from the start of the source
    labels: Tuple[str, ...]  # of the classes with the highest scores
    scores: Tuple[float, ...]  # theirs
    is_full: bool  # as many frames remembered as the context has
    all_scores: np.ndarray  # of every class, as of the model in testing
    dropped: int = 0  # frames of a live source that were due and not taken
    delay: Optional[float] = None  # seconds since a live frame came
    image: Optional[np.ndarray] = None  # the frame, RGB
    maps: Optional[Maps] = None  # if the recognizer was asked for them


class TorchStep:
    """Runs a step of a model, as :class:`mmlcr.apis.OnnxStep`.

    Args:
        model (BaseModel): A recognizer with LCR.
    """

    def __init__(self, model: BaseModel) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self,
                 frames: Tensor,
                 state: Optional[LCRState],
                 place: Optional[LayerState] = None
                 ) -> Tuple[Tensor, LCRState]:
        """Scores and state after frames ``(B, 4, 1, height, width)``.

        Of a state of ``m`` memories, scores are ``(m * B, classes)``. The new
        state's layers may be at ``place``.
        """
        feature, state = self.feature(frames, state, place)
        return view_scores(self.model.cls_head, feature).cpu(), state

    @torch.no_grad()
    def feature(self,
                frames: Tensor,
                state: Optional[LCRState],
                place: Optional[LayerState] = None
                ) -> Tuple[Tensor, LCRState]:
        """What the head reads, ``(m * B, C)``; all else as when called."""
        return self.model.backbone.forward_frames(
            self._clip(frames), state, place=place)

    def kept_memory(self, frames: Tensor,
                    state: Optional[LCRState]) -> np.ndarray:
        """What each patch keeps, ``(num_layers, B, rows, cols)``."""
        clip = self._clip(frames)
        return self.model.backbone.kept_memory(clip[:, :, 0],
                                               state).cpu().numpy()

    def grad_cam(self, frames: Tensor, target: int,
                 layer: Optional[int] = None) -> np.ndarray:
        """As of :func:`mmlcr.apis.grad_cam`; the frames may be bytes."""
        return grad_cam(self.model, self._clip(frames), target,
                        layer).cpu().numpy()

    def _clip(self, frames: Tensor) -> Tensor:
        preprocessor = self.model.data_preprocessor
        if isinstance(preprocessor, LCRDataPreprocessor):  # bytes stay so
            return frames.to(preprocessor.device)
        return preprocessor(
            dict(inputs=list(frames[:, None]), data_samples=None),
            training=False)['inputs'].flatten(0, 1)


class StreamRecognizer:
    """Recognize actions frame by frame.

    The frames go through the spatial transforms of the config's pipeline, its
    data preprocessor, backbone and head: after the frames of a clip the scores
    are those of the clip.

    Two contexts: ``'free'``, one memory that runs on for ever; ``'windowed'``,
    two memories that begin anew in turns after ``clip_len`` frames, half of
    that apart. The older one is asked, so that scores rest on half to all of
    the frames that the model was trained with, at twice the cost.

    Args:
        config (str | Config): Of the model.
        checkpoint (str, optional): Of the model, or a step of it that
            ``tools/export_onnx.py`` wrote, which onnxruntime then runs on a
            CPU. Defaults to None: as initialised.
        device (str): Defaults to ``'cpu'``.
        context (str): Defaults to ``'windowed'``, which is more often right,
            and sooner after a change of action: ``tools/stream_accuracy.py``.
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
            its edge map, what the forget gate keeps and the energy of what is
            remembered. Defaults to False.

    Raises:
        ValueError: If the model is no LCR, an argument does not fit, or the
            config tells nothing about the rate.
    """

    CONTEXTS = 'windowed', 'free'

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
        if context not in self.CONTEXTS:
            raise ValueError(f'context must be one of {self.CONTEXTS}, got '
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
                checked_names(step.metadata.get('classes'), checkpoint),
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

    def twin(self) -> 'StreamRecognizer':
        """Another stream through the same model, its memory empty."""
        twin = copy.copy(self)
        twin.reset()
        return twin

    def reset(self) -> None:
        """Forget all frames."""
        self._state: Optional[LCRState] = None  # of all memories
        self._ages: List[int] = []  # theirs in frames, the oldest first
        self._unused: Dict[int, List[LayerState]] = {}  # by their memories
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
        kept = None
        if self.maps:  # by the frame before, too
            kept = self.run_step.kept_memory(views, self._state)
        scores, age = self.take_views(views)
        maps: List[Optional[Maps]] = [None] * len(frames)
        if self.maps:
            maps = [*self._maps(views, kept)]
        enough = self.clip_len
        if self.context == 'windowed':
            enough = (self.clip_len + 1) // 2
        number = self._frames
        self._frames += 1
        return [
            self._result(image, of_one, number, seconds,
                         age >= enough)._replace(maps=of_image)
            for image, of_one, of_image in zip(frames, scores, maps)
        ]

    def stream(self,
               source: Address,
               *,
               fps: Optional[float] = None,
               live: Optional[bool] = None,
               go_on: bool = False) -> Iterator[StreamResult]:
        """Results for the frames of a source that are due.

        Times are those of the container, where it has any. A source with fewer
        frames a second than the model was trained on is warned of once. The
        memory begins anew, also where a live source broke off and was
        opened again. A live source is not waited for: of the frames that come
        during a step the last is taken, and the others are counted.

        Args:
            source (str | int | PathLike | Iterable[np.ndarray]): As of
                :func:`mmlcr.apis.open_source`.
            fps (float, optional): Of a folder or of arrays, which are taken
                frame by frame without; of a video in place of its own times.
            live (bool, optional): Whether to drop frames rather than fall
                behind. Defaults to None: of cameras and live streams.
            go_on (bool): Whether the memory goes on with the first frame, as
                of a stream that was moved. Defaults to False.

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
            if frame.is_first and not go_on:
                self.reset()
            go_on = False
            result = self._take(frame)
            if isinstance(frames, LatestFrameReader):
                result = result._replace(dropped=frames.dropped)
            yield result

    def state_dict(self) -> Dict[str, Any]:
        """All that a stream needs to go on elsewhere: tensors and numbers."""
        state = _copied(self._state, torch.device('cpu'))
        return dict(
            format=STATE_FORMAT,
            model=self.model_id,
            context=self.context,
            frames=self._frames,
            sizes=[list(size) for size in self._sizes],
            ages=[*self._ages],
            memories=state and dict(
                layers=state.layers._asdict(),
                prompt=state.prompt,
                frame=state.frame))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on with a stream; what is wrong with it leaves this one as is.

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

        known, found = None, state['memories']
        try:
            if found is not None:
                layers = LayerState(**found['layers'])
                known = LCRState(layers, found['prompt'], found['frame'],
                                 len(state['ages']))
            known = _copied(known, self.device)
            ages = [int(age) for age in state['ages']]
            sizes = [tuple(size) for size in state['sizes']]
            frames = int(state['frames'])
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'not the state of a stream: {error}') from error
        self._state, self._ages, self._unused = known, ages, {}
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
        state, ages, rows = self._state, self._ages, len(views)
        unneeded: List[LCRState] = []
        begins = not ages
        if self.context == 'windowed':
            if state is not None and ages[0] >= self.clip_len:
                unneeded.append(state)
                ages = ages[1:]
                state = state.without_first(self._room(
                    len(ages))) if ages else None
            begins = not ages or (len(ages) == 1
                                  and ages[0] >= self.clip_len // 2)
        if state is not None:
            scores, state = self.run_step(views, state, state.layers)
        if begins:
            scores_of_first, first = self.run_step(views, None, self._room(1))
            if state is None:
                scores, state = scores_of_first, first
            else:
                unneeded += [state, first]
                state = state.join(first, self._room(state.memories + 1))
        ages = [age + 1 for age in [*ages, *[0] * begins]]
        self._state, self._ages = state, ages
        for each in unneeded:
            self._unused.setdefault(each.memories, []).append(each.layers)
        scores = scores[:rows].unflatten(0, (self.num_streams, -1)).mean(1)
        return scores.numpy(), ages[0]

    def _room(self, memories: int) -> Optional[LayerState]:
        """Memory of a state of so many that nobody needs any more.

        If it were asked of the system again and again, more and more of it
        would lie between what is in use.
        """
        unused = self._unused.get(memories)
        return unused.pop() if unused else None

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
              kept: Optional[np.ndarray]) -> Iterator[Maps]:
        """Of each stream, after the frame; ``kept`` is of all views."""
        each = len(views) // self.num_streams
        clips = views[:, :, 0].permute(0, 2, 3, 1).numpy()
        of_patches: List[np.ndarray] = []
        if kept is not None:
            assert self._state is not None  # that frame's
            energies = (e.cpu().numpy().reshape(kept.shape)
                        for e in self._state.energies())
            of_patches = [kept, *energies]
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


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`recognizer_of` builds a recognizer by."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or a step that tools/export_onnx.py wrote')
    parser.add_argument(
        '--context',
        choices=StreamRecognizer.CONTEXTS,
        default=StreamRecognizer.CONTEXTS[0],
        help='two memories that begin anew in turns, for scores of half to '
        'all of the frames that a clip has, or one that runs on, at half of '
        'the cost; default: %(default)s')
    parser.add_argument(
        '--fps',
        type=float,
        help="frames a second that are taken; default: the config's")
    parser.add_argument(
        '--pipeline',
        default='test_pipeline',
        help='whose spatial transforms are taken; default: %(default)s')
    parser.add_argument('--device', default='cpu')
    add_config_arguments(parser)


def recognizer_of(args: argparse.Namespace,
                  **options: Any) -> StreamRecognizer:
    """By the arguments; ``options`` as of :class:`StreamRecognizer`."""
    return StreamRecognizer(
        load_config(args),
        args.checkpoint,
        device=args.device,
        context=args.context,
        fps=args.fps,
        pipeline=args.pipeline,
        **options)


def _copied(state: Optional[LCRState],
            device: torch.device) -> Optional[LCRState]:
    """Steps write into the state that they are given."""

    def copied(tensor: Any) -> Any:
        return None if tensor is None else tensor.to(device, copy=True)

    return state and LCRState(
        LayerState._make(map(copied, state.layers)), copied(state.prompt),
        copied(state.frame), state.memories)


def split_pipeline(pipeline: Sequence[dict]) -> Tuple[dict, List[dict]]:
    """A pipeline's sampler, and what comes after decoding.

    Raises:
        ValueError: If it has none, or does not decode.
    """
    samplers = [step for step in pipeline if 'clip_len' in step]
    decoders = [
        index for index, step in enumerate(pipeline)
        if step['type'].endswith('Decode')
    ]
    if not samplers or not decoders:
        names = ', '.join(step['type'] for step in pipeline)
        raise ValueError('a pipeline without a sampler of clips or without '
                         f'a decoder: {names}')
    return samplers[0], list(pipeline[decoders[-1] + 1:])
