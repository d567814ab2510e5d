# Copyright (c) The mmlcr authors. All rights reserved.
"""Streams give the scores of clips; bad sources and frames are errors."""
import io
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import cv2
import numpy as np
import pytest
import torch
from encode import FRAMES, KINDS, draw, encode
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from mmaction.apis import inference_recognizer
from mmlcr.streaming import (
    AnnotatedVideo,
    StreamRecognizer,
    StreamResult,
    middle_frame,
    open_source,
)
from mmlcr.streaming.pipeline import split_pipeline
from mmlcr.video import SourceError, VideoReader

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# what this project promises of float32, in norm
FLOAT32_TOLERANCE = 1e-5
# float64 rounding of the same, amplified by random weights
FLOAT64_TOLERANCE = 1e-9
CLIP_LEN = 8  # of the motion config


@pytest.fixture
def recognizer(redraw: Callable) -> Callable[..., StreamRecognizer]:
    """Build the recognizer of a config, all of its weights random."""

    def build(name: str = 'lcr_motion', options: dict = {},
              context: str = 'free',
              **arguments: Any) -> StreamRecognizer:
        config = Config.fromfile(CONFIGS / f'{name}.py')
        config.merge_from_dict(options)
        torch.manual_seed(1)
        built = StreamRecognizer(config, context=context, **arguments)
        redraw(built.run_step.model)
        built.model_id = 'random'
        return built

    return build


def clip_scores(recognizer: StreamRecognizer, frames: np.ndarray,
                pipeline: str = 'test_pipeline') -> np.ndarray:
    """Return the scores of frames as one clip, by ``model.test_step``."""
    model = recognizer.run_step.model
    _, spatial = split_pipeline(model.cfg[pipeline])
    results = Compose(spatial)(
        dict(
            imgs=list(frames),
            original_shape=frames.shape[1:3],
            img_shape=frames.shape[1:3],
            modality='RGB',
            num_clips=1,
            clip_len=len(frames),
            label=-1))
    with torch.no_grad():
        sample, = model.test_step(pseudo_collate([results]))
    return sample.pred_score.numpy()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """``|a - b| / |b|``."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# ---- the scores of clips


@pytest.mark.parametrize('pipeline', ['test_pipeline', 'val_pipeline'])
@pytest.mark.parametrize('name', ['lcr_motion', 'lcr_motion_multilabel',
                                  'lcr_weizmann'])
def test_a_stream_has_the_scores_of_the_clip(name: str, pipeline: str,
                                             recognizer: Callable,
                                             make_frames: Callable) -> None:
    stream = recognizer(name, pipeline=pipeline)
    frames = make_frames(6, 144, 180)
    for number, frame in enumerate(frames):
        result = stream.step(frame)
        expected = clip_scores(stream, frames[:number + 1], pipeline)
        assert difference(result.all_scores, expected) < FLOAT32_TOLERANCE
        assert result.frame == number
        assert result.seconds == pytest.approx(number / stream.fps)
        best = expected.argsort()[::-1][:5]
        assert result.labels == tuple(stream.classes[i] for i in best)
        assert result.scores == pytest.approx(expected[best], rel=1e-4)


@pytest.mark.parametrize('crops, expected', [('center', 1), ('all', 3)])
def test_one_crop_or_all(crops: str, expected: int, recognizer: Callable,
                         make_frames: Callable) -> None:
    """The one in the middle of the test pipeline, unless all are asked for."""
    stream = recognizer('lcr_jester', crops=crops)
    frame, = make_frames(1, 240, 320)
    views = stream.views(frame)
    assert views.shape == (expected, 4, 1, 224, 224)
    every = recognizer('lcr_jester', crops='all').views(frame)
    middle = 2  # ThreeCrop's order: left, right, middle
    assert torch.equal(views[-1], every[middle])


@pytest.mark.parametrize('frame_seconds, clip_fps', [(0.12, 25), (0.08, 30),
                                                     (0.2, 60)])
def test_a_sampler_by_time_gives_the_rate_of_the_stream(
        frame_seconds: float, clip_fps: float, recognizer: Callable,
        make_video: Callable) -> None:
    """A clip of the test pipeline has the frames of the stream."""
    pipeline = Config.fromfile(CONFIGS / 'lcr_motion.py').test_pipeline
    pipeline[1] = dict(type='SampleFramesByTime', clip_len=6,
                       frame_seconds=frame_seconds, test_mode=True)
    stream = recognizer(
        options=dict(stream_fps=None, test_pipeline=pipeline))
    assert stream.fps == pytest.approx(1 / frame_seconds)
    assert stream.clip_len == 6
    path = make_video(num_frames=round(5 * frame_seconds * clip_fps) + 1,
                      fps=clip_fps, step=1)
    results = [*stream.stream(path)][:6]
    sampled = Compose(pipeline[:2])(dict(filename=str(path), start_index=0))
    assert [result.frame for result in results
            ] == sampled['frame_inds'].tolist()


@pytest.mark.parametrize('options', [{}, {
    'model.backbone.backend': 'eager'
}], ids=['fused', 'plain'])
def test_real_clips_of_the_jester_config(options: dict, shared_data: Path,
                                         recognizer: Callable,
                                         make_frames: Callable) -> None:
    """Two streams in a batch, three crops each, restored half way."""
    decord = pytest.importorskip('decord')
    paths = sorted((shared_data / 'clips').glob('*.mp4'))[:2]
    clips = [
        decord.VideoReader(str(path)).get_batch(range(0, 48, 6)).asnumpy()
        for path in paths
    ]
    pair = recognizer('lcr_jester', options, num_streams=2, crops='all')
    single = recognizer('lcr_jester', options, crops='all')
    for number, frames in enumerate(zip(*clips)):
        of_pair = pair.step_all(frames)
        of_single = single.step(frames[0])
        if number == 3:
            file = io.BytesIO()
            torch.save((pair.state_dict(), single.state_dict()), file)
            pair.reset()
            single.step(frames[0])
            file.seek(0)
            states = torch.load(file, weights_only=True)
            pair.load_state_dict(states[0])
            single.load_state_dict(states[1])
    for result, clip in zip(of_pair, clips):
        expected = clip_scores(single, clip)
        assert difference(result.all_scores, expected) < FLOAT32_TOLERANCE
    expected = clip_scores(single, clips[0])
    assert difference(of_single.all_scores, expected) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('kind', KINDS)
def test_clip_and_stream_read_a_file_alike(kind: str, recognizer: Callable,
                                           tmp_path: Path) -> None:
    """MMAction2's inference and a stream, for any codec and container."""
    path = encode(tmp_path / kind, **KINDS[kind])
    stream = recognizer()
    stream.run_step.model.double()  # whatever rounding random weights amplify
    stream.fps, stream.interval = None, 1
    results = [*stream.stream(str(path))]
    assert [r.frame for r in results] == [*range(FRAMES)]
    _, spatial = split_pipeline(stream.run_step.model.cfg.test_pipeline)
    clip = Compose([
        dict(type='VideoInit'),
        dict(type='SampleFrames', clip_len=FRAMES, test_mode=True),
        dict(type='VideoDecode'), *spatial])
    expected = inference_recognizer(stream.run_step.model, str(path), clip)
    assert difference(results[-1].all_scores, expected.pred_score.numpy()
                      ) < FLOAT64_TOLERANCE


def test_seconds_are_the_times_of_the_container(recognizer: Callable,
                                                tmp_path: Path) -> None:
    times = [0., 0.08, 0.2, 0.9, 1., 1.5]
    path = encode(tmp_path / 'a.mp4', frames=draw(6), times=times)
    stream = recognizer()
    stream.fps, stream.interval = None, 1
    assert [r.seconds for r in stream.stream(path)] == pytest.approx(times)
    seconds = [r.seconds for r in stream.stream(path, fps=10)]
    assert seconds == pytest.approx([0.1 * t for t in range(6)])


def test_an_annotated_video_lasts_as_long(recognizer: Callable,
                                          tmp_path: Path) -> None:
    """The source is slower than the model's rate, which warns once."""
    path = encode(tmp_path / 'slow.mp4', frames=draw(17),
                  times=[t / 5 for t in range(17)])
    out = AnnotatedVideo(str(tmp_path / 'out.mp4'), 12.5)
    with pytest.warns(UserWarning, match='the source has 5 frames') as records:
        for result in recognizer(fps=12.5).stream(path):
            out.write(result)
    out.close()
    assert len(records) == 1
    video = VideoReader(str(tmp_path / 'out.mp4'))
    assert video.times == pytest.approx([t / 5 for t in range(17)], abs=1e-3)
    assert video.duration == pytest.approx(17 / 5, abs=1e-3)


def test_windowed_context_is_of_the_last_frames(recognizer: Callable,
                                                make_frames: Callable) -> None:
    """Scores are those of a clip of the last frames, half to all of it."""
    stream = recognizer(context='windowed')
    # with a step of 3 and the edges of OpenCV 4.7, rounding grows tenfold at
    # one of the frames, in PyTorch alone as with Numba
    frames, ages = make_frames(3 * CLIP_LEN), []
    for number, frame in enumerate(frames):
        result = stream.step(frame)
        age = stream._windows.ages[0]
        ages.append(age)
        expected = clip_scores(stream, frames[number + 1 - age:number + 1])
        assert difference(result.all_scores, expected) < FLOAT32_TOLERANCE
        assert result.is_full == (number + 1 >= CLIP_LEN / 2)
    assert ages[:CLIP_LEN] == list(range(1, CLIP_LEN + 1))
    assert set(ages[CLIP_LEN:]) == set(range(CLIP_LEN // 2 + 1, CLIP_LEN + 1))


@pytest.mark.parametrize('clip_len', [1, 2, 3, 7])
def test_windows_of_other_lengths(clip_len: int, recognizer: Callable,
                                  make_frames: Callable) -> None:
    stream = recognizer(context='windowed')
    stream.clip_len = clip_len
    stream.reset()
    for number, frame in enumerate(make_frames(20)):
        stream.step(frame)
        age = stream._windows.ages[0]
        assert age <= clip_len and len(stream._windows.ages) <= 2
        assert 2 * age >= clip_len or age == number + 1


def test_free_context_remembers_all(recognizer: Callable,
                                    make_frames: Callable) -> None:
    stream, frames = recognizer(), make_frames(2 * CLIP_LEN)
    results = [stream.step(frame) for frame in frames]
    expected = clip_scores(stream, frames)
    assert difference(results[-1].all_scores, expected) < FLOAT32_TOLERANCE
    assert [r.is_full for r in results
            ] == [False] * (CLIP_LEN - 1) + [True] * (CLIP_LEN + 1)
    stream.reset()
    assert (stream.step(frames[0]).all_scores == results[0].all_scores).all()


def test_new_streams_share_only_the_model(recognizer: Callable,
                                          make_frames: Callable) -> None:
    stream, frames = recognizer(), make_frames(4)
    expected = [stream.step(frame).all_scores for frame in frames]
    stream.reset()
    other = stream.new_stream()
    assert other.run_step is stream.run_step
    small = frames[:, ::2, ::2]
    for frame, small_frame, scores in zip(frames, small, expected):
        assert (stream.step(frame).all_scores == scores).all()
        other.step(small_frame)
    assert other.state_dict()['sizes'] != stream.state_dict()['sizes']


@pytest.mark.parametrize('context', StreamRecognizer.CONTEXTS)
def test_maps_are_of_the_frame(context: str, recognizer: Callable,
                               make_frames: Callable) -> None:
    """Each stream has its own crop, edge map, forget gate and norms."""
    frames, others = make_frames(12, 96, 72), make_frames(12, 96, 72, step=3)
    plain, stream = (
        recognizer('lcr_weizmann', context=context, num_streams=2, maps=maps)
        for maps in (False, True))
    single = recognizer('lcr_weizmann', context='free', maps=True)
    for pair in zip(frames, others):
        results = stream.step_all(pair)
        for result, expected, image in zip(results, plain.step_all(pair),
                                           pair):
            assert (result.all_scores == expected.all_scores).all()
            assert expected.maps is None
            view = stream.views(image)[-1, :, 0].numpy()
            assert (result.maps.picture == view[:3].transpose(1, 2, 0)).all()
            assert (result.maps.edges == view[3]).all()
        alone = single.step(pair[1]).maps
        np.testing.assert_allclose(results[1].maps.retention, alone.retention,
                                   rtol=1e-5)
        rows, cols = (side // 8 for side in result.maps.edges.shape)
        assert alone.retention.shape == (2, rows, cols)
        # the older window, whose streams come first
        layers = stream._windows.state.layers
        for name, tokens in zip(('hidden', 'cell'), layers):
            for index, result in enumerate(results):
                channels = tokens[:, index, :-1].numpy()
                np.testing.assert_allclose(
                    getattr(result.maps, name),
                    ((channels**2).sum(-1)**0.5).reshape(2, rows, cols), 1e-5)


# ---- sources


def test_a_video_keeps_the_rate_of_training(recognizer: Callable,
                                            make_video: Callable) -> None:
    """12.5 frames per second of videos with 10, 25, 30 and 50."""
    stream = recognizer()
    for fps, expected in ((25, [0, 2, 4, 6, 8, 10]), (50, [0, 4, 8]),
                          (10, list(range(12))), (30, [0, 2, 5, 7, 10])):
        path = make_video(f'{fps}.mp4', fps=fps)
        results = list(stream.stream(path))
        assert [r.frame for r in results] == expected
        assert [r.seconds for r in results
                ] == pytest.approx([number / fps for number in expected])


def test_without_a_rate_by_the_interval(recognizer: Callable,
                                        make_video: Callable) -> None:
    stream = recognizer()
    stream.fps = None
    assert [r.frame for r in stream.stream(str(make_video()))
            ] == [0, 2, 4, 6, 8, 10]


def test_video_folder_and_arrays_are_the_same(recognizer: Callable,
                                              make_video: Callable,
                                              tmp_path: Path) -> None:
    import cv2
    path = make_video(num_frames=12)
    capture, images = cv2.VideoCapture(str(path)), []
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(12):
        _, image = capture.read()
        images.append(image[..., ::-1].copy())
        cv2.imwrite(str(folder / f'img_{number + 1}.png'), image)
    (folder / 'notes.txt').write_text('not an image')
    stream = recognizer()
    video, folder_, arrays, every = (
        [r.all_scores for r in stream.stream(source, fps=fps)]
        for source, fps in ((path, None), (folder, 25), (images, 25),
                            (iter(images), None)))
    assert len(video) == 6 and len(every) == 12
    np.testing.assert_array_equal(video, folder_)
    np.testing.assert_array_equal(video, arrays)


def test_the_middle_of_a_source(make_video: Callable, make_frames: Callable,
                                tmp_path: Path) -> None:
    """The middle frame of a video and of a folder of images."""
    video = make_video(num_frames=9, step=4)
    every = [frame.image for frame in open_source(str(video))]
    assert (middle_frame(str(video)) == every[4]).all()
    (tmp_path / 'images').mkdir()
    for number, image in enumerate(every[:8]):
        cv2.imwrite(str(tmp_path / f'images/{number}.png'), image[..., ::-1])
    assert (middle_frame(str(tmp_path / 'images')) == every[4]).all()
    with pytest.raises(SourceError, match='none.mp4: there is no such video'):
        middle_frame('none.mp4')


def test_bad_sources_are_named(recognizer: Callable, tmp_path: Path,
                               make_video: Callable) -> None:
    stream = recognizer()
    empty, text, folder = (tmp_path / name for name in ('e.mp4', 't.mp4', 'f'))
    empty.touch()
    text.write_text('no video')
    folder.mkdir()
    for source, message in ((tmp_path / 'none.mp4', 'no such video'),
                            (empty, 'empty file'), (text, 'not a video'),
                            (folder, 'without images')):
        with pytest.raises(SourceError, match=f'{source}.*{message}'):
            next(stream.stream(source))
    (folder / '1.png').write_bytes(b'no image')
    with pytest.raises(SourceError, match='1.png: not an image'):
        next(stream.stream(str(folder)))
    (folder / '0.ppm').write_bytes(b'P6 1000000 1000000 255\n')
    with pytest.raises(SourceError, match='0.ppm: not an image.*: [^\n]*$'):
        next(stream.stream(str(folder)))
    with pytest.raises(SourceError, match='camera 99: does not open'):
        next(stream.stream('99'))


def test_a_truncated_video_gives_what_it_has(recognizer: Callable,
                                             make_video: Callable) -> None:
    path = make_video('clip.avi', codec='MJPG', num_frames=40)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    results: List[StreamResult] = []
    with pytest.raises(SourceError, match=r'clip.avi: broke off after \d+'):
        for result in recognizer().stream(path):
            results.append(result)
    assert len(results) > 5


@pytest.mark.parametrize('frame, message', [
    (np.zeros((48, 64, 3), np.float32), 'float32'),
    (np.zeros((48, 64), np.uint8), r'\(48, 64\)'),
    (np.zeros((48, 64, 4), np.uint8), r'\(48, 64, 4\)'),
    ([[0]], 'list'),
    (np.zeros((64, 48, 3), np.uint8), '64x48.*48x64'),
])
def test_a_bad_frame_changes_nothing(frame: Any, message: str,
                                     recognizer: Callable,
                                     make_frames: Callable) -> None:
    stream, frames = recognizer(), make_frames(3)
    expected = [stream.step(image).all_scores for image in frames][2]
    stream.reset()
    stream.step(frames[0])
    stream.step(frames[1])
    with pytest.raises(ValueError, match=message):
        stream.step(frame)
    with pytest.raises(ValueError, match=f'frame 2: .*{message}'):
        list(stream.stream([*frames[:2], frame]))
    assert (stream.step(frames[2]).all_scores == expected).all()


# ---- live


class Slow(list):
    """Frames whose source stays open after the last one."""

    def __init__(self, frames: np.ndarray) -> None:
        super().__init__(frames)
        self.may_end = threading.Event()

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from super().__iter__()
        self.may_end.wait(10)


def test_live_frames_are_dropped_and_counted(recognizer: Callable,
                                             make_frames: Callable) -> None:
    """A slow consumer gets the latest frame, and always the last one."""
    stream, source = recognizer(), Slow(make_frames(40))
    stream.fps, stream.interval, results = None, 1, []
    for result in stream.stream(source, fps=2000, live=True):
        results.append(result)
        if result.frame == 39:
            source.may_end.set()
    assert results[-1].frame == 39
    assert results[-1].dropped == 40 - len(results) > 0
    assert all(0 < result.delay < 10 for result in results)
    frames = [result.frame for result in results]
    assert frames == sorted(set(frames))


def test_a_file_as_if_live_keeps_its_time(recognizer: Callable,
                                           make_video: Callable) -> None:
    """A second of video takes a second, and nothing is dropped."""
    stream, path = recognizer(), make_video(num_frames=13)
    stream.step(np.zeros((48, 64, 3), np.uint8))  # loads the kernels
    start = time.monotonic()
    results = list(stream.stream(path, live=True))
    assert time.monotonic() - start >= 12 / 25
    assert [result.frame for result in results] == [0, 2, 4, 6, 8, 10, 12]
    assert results[-1].dropped == 0


def test_an_error_of_a_live_source_is_raised(recognizer: Callable,
                                             make_frames: Callable) -> None:

    def broken() -> Iterator[np.ndarray]:
        yield make_frames(1)[0]
        raise OSError('unplugged')

    with pytest.raises(OSError, match='unplugged'):
        list(recognizer().stream(broken(), live=True))


# ---- states


def test_a_state_of_another_stream_is_refused(recognizer: Callable,
                                              make_frames: Callable) -> None:
    stream, frames = recognizer(), make_frames(2)
    stream.step(frames[0])
    state = stream.state_dict()
    expected = stream.step(frames[1]).all_scores
    for other, message in ((dict(state, model='other'), 'another model'),
                           (dict(state, context='windowed'), 'context'),
                           (dict(state, format=0), 'format'),
                           (dict(state, sizes=[[1, 1]] * 2), '2 streams'),
                           (dict(state, windows={}), "stream: 'layers'"),
                           (dict(state, windows=dict(state['windows'],
                                                      layers={})), 'missing'),
                           (dict(state, ages=None), 'stream: .*NoneType'),
                           ([], "no .*'context'"),
                           ({'age': 1}, "no .*'context'")):
        with pytest.raises(ValueError, match=message):
            stream.load_state_dict(other)
    stream.load_state_dict(state)
    assert (stream.step(frames[1]).all_scores == expected).all()
    with pytest.raises(ValueError, match='48x64'):
        stream.step(make_frames(1, 64, 64)[0])


def test_the_id_of_a_model_is_that_of_its_weights() -> None:
    config = str(CONFIGS / 'lcr_motion.py')
    ids = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        ids.append(StreamRecognizer(config).model_id)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize('arguments, message', [
    (dict(context='other'), "'other'"),
    (dict(fps=0), 'fps must be positive'),
    (dict(topk=0), 'topk'),
    (dict(pipeline='no_pipeline'), 'no no_pipeline'),
])
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamRecognizer(str(CONFIGS / 'lcr_motion.py'), **arguments)


def test_a_uniform_sampler_needs_a_rate(recognizer: Callable) -> None:
    config = Config.fromfile(CONFIGS / 'lcr_jester.py')
    assert StreamRecognizer(config).fps == pytest.approx(16 / 3)
    config.pop('stream_fps')
    with pytest.raises(ValueError, match='UniformSample.*stream_fps'):
        StreamRecognizer(config)
    assert StreamRecognizer(config, fps=5).fps == 5


# ---- for ever


def test_a_long_stream_does_not_grow(recognizer: Callable,
                                     make_frames: Callable) -> None:
    """The state after a thousand frames is as large as after a hundred."""
    frames = make_frames(25)
    for context in ('free', 'windowed'):
        stream, sizes = recognizer(context=context), []
        for number in range(1000):
            result = stream.step(frames[number % 25])
            if number in (100, 999):
                file = io.BytesIO()
                torch.save(stream.state_dict(), file)
                sizes.append(len(file.getvalue()))
        assert np.isfinite(result.all_scores).all()
        if context == 'free':
            assert abs(sizes[0] - sizes[1]) < 100  # digits of its age
