# Copyright (c) The mmlcr authors. All rights reserved.
"""EdgeMap against direct calls of OpenCV, and bad inputs."""
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose

from mmaction.registry import TRANSFORMS
from mmlcr.transforms import EdgeMap


def edges_by_hand(rgb: np.ndarray) -> np.ndarray:
    """Canny of the grey image, with Otsu's threshold and half of it."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    # Otsu: the threshold of the largest variance between the classes
    counts = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    below = counts.cumsum()
    sums = (counts * levels).cumsum()
    with np.errstate(divide='ignore', invalid='ignore'):
        between = (sums[-1] * below - sums)**2 / (below * (1 - below))
    threshold = int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
    return cv2.Canny(grey, threshold / 2, threshold)


def test_fourth_channel_is_the_edge_map(make_frames: Callable) -> None:
    frames = list(make_frames(num_frames=4))
    results = EdgeMap().transform(dict(imgs=[f.copy() for f in frames]))
    assert len(results['imgs']) == 4
    for frame, image in zip(frames, results['imgs']):
        assert image.dtype == np.uint8
        assert np.array_equal(image[..., :3], frame)
        assert np.array_equal(image[..., 3], edges_by_hand(frame))
        assert set(np.unique(image[..., 3])) == {0, 255}


def test_edges_lie_around_what_there_is() -> None:
    """A plain square has edges along its outline and nowhere else."""
    for left in (5, 30):
        frame = np.full((48, 64, 3), 40, dtype=np.uint8)
        frame[16:32, left:left + 20] = 200
        image, = EdgeMap().transform(dict(imgs=[frame]))['imgs']
        outline = np.zeros((48, 64), dtype=bool)
        outline[15:33, left - 1:left + 21] = True
        outline[17:31, left + 1:left + 19] = False
        edges = image[..., 3] > 0
        assert not edges[~outline].any()
        # every column and row of the square has some
        assert edges[:, left:left + 20].any(0).all()
        assert edges[16:32].any(1).all()


def test_channel_order_is_that_of_the_frames(make_frames: Callable) -> None:
    rgb = make_frames(num_frames=1)[0]
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    of_rgb, = EdgeMap('rgb').transform(dict(imgs=[rgb]))['imgs']
    of_bgr, = EdgeMap('bgr').transform(dict(imgs=[bgr]))['imgs']
    assert np.array_equal(of_rgb[..., 3], of_bgr[..., 3])
    assert np.array_equal(of_bgr[..., :3], bgr)  # and are not reordered
    # the order does matter: a red square on a green ground of equal weight
    rgb = np.zeros((20, 20, 3), dtype=np.uint8)
    rgb[..., 1] = 255
    rgb[5:15, 5:15] = 255, 0, 0
    wrong, = EdgeMap('bgr').transform(dict(imgs=[rgb]))['imgs']
    right, = EdgeMap('rgb').transform(dict(imgs=[rgb]))['imgs']
    assert np.array_equal(right[..., 3], edges_by_hand(rgb))
    swapped = edges_by_hand(np.ascontiguousarray(rgb[..., ::-1]))
    assert np.array_equal(wrong[..., 3], swapped)


def test_frames_that_went_in_are_not_changed(make_frames: Callable) -> None:
    frames = list(make_frames(num_frames=2))
    before = [frame.copy() for frame in frames]
    frames[1].flags.writeable = False
    EdgeMap().transform(dict(imgs=frames))
    assert len(frames) == 2
    assert all(np.array_equal(a, b) for a, b in zip(frames, before))


def test_flipped_view_is_read_as_it_looks(make_frames: Callable) -> None:
    """Flips and crops give views that OpenCV cannot read directly."""
    frame = make_frames(num_frames=1)[0]
    view = frame[4:, ::-1][:, 3:]
    assert not view.flags.c_contiguous
    image, = EdgeMap().transform(dict(imgs=[view]))['imgs']
    expected = edges_by_hand(np.ascontiguousarray(view))
    assert np.array_equal(image[..., 3], expected)


@pytest.mark.parametrize('level', [0, 128, 255])
def test_flat_frame_has_no_edges(level: int) -> None:
    frame = np.full((16, 16, 3), level, dtype=np.uint8)
    image, = EdgeMap().transform(dict(imgs=[frame]))['imgs']
    assert image.shape == (16, 16, 4) and not image[..., 3].any()


@pytest.mark.parametrize(
    'bad, message',
    [
        (np.zeros((8, 8), np.uint8), r'uint8 of shape \(8, 8\) as frame 1'),
        (np.zeros((8, 8, 1), np.uint8), r'\(8, 8, 1\) as frame 1'),
        (np.zeros((8, 8, 4), np.uint8), r'\(8, 8, 4\) as frame 1'),
        (np.zeros((8, 8, 3), np.float32), 'float32 .*as frame 1'),
        (np.zeros((8, 8, 3), np.uint16), 'uint16 .*as frame 1'),
    ],
    ids=['grey', 'one-channel', 'four-channels', 'float32', 'uint16'])
def test_other_frames_are_refused(bad: np.ndarray, message: str) -> None:
    good = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=f'EdgeMap.*{message}'):
        EdgeMap().transform(dict(imgs=[good, bad]))


def test_unknown_channel_order_is_named() -> None:
    with pytest.raises(ValueError, match="'gbr'"):
        EdgeMap('gbr')


def test_repr_is_the_call_that_builds_it() -> None:
    transform = TRANSFORMS.build(dict(type='EdgeMap', channel_order='bgr'))
    assert repr(transform) == "EdgeMap(channel_order='bgr')"
    assert eval(repr(transform)).channel_order == 'bgr'


@pytest.mark.parametrize('backend', ['Decord', 'OpenCV'])
def test_decoders_give_rgb(backend: str, make_video: Callable) -> None:
    """The default channel order is right for MMAction2's decoders."""
    path = make_video(num_frames=4, height=48, width=64)
    pipeline = Compose([
        TRANSFORMS.build(config) for config in (
            dict(type=f'{backend}Init'),
            dict(type='SampleFrames', clip_len=4, test_mode=True),
            dict(type=f'{backend}Decode'), dict(type='EdgeMap'))
    ])
    images = pipeline(
        dict(filename=str(path), start_index=0, modality='RGB'))['imgs']
    capture = cv2.VideoCapture(str(path))
    for image in images:
        frame = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        # the two decoders may round colours differently
        assert abs(image[..., :3].astype(int) - frame).mean() < 2
        edges = edges_by_hand(np.ascontiguousarray(image[..., :3]))
        assert edges.any()
        assert np.array_equal(image[..., 3], edges)


@pytest.mark.parametrize('name', [
    'apply_eye_makeup.avi', 'arm_wrestling.mp4', 'boxing.mp4', 'sign_drink.mp4'
])
def test_real_clips(name: str, shared_data: Path) -> None:
    pipeline = Compose([
        TRANSFORMS.build(config) for config in (
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=3, frame_interval=4),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(64, 48), keep_ratio=False),
            dict(type='EdgeMap'))
    ])
    path = str(shared_data / 'clips' / name)
    images = pipeline(
        dict(filename=path, start_index=0, modality='RGB'))['imgs']
    assert len(images) == 3
    for image in images:
        edges = edges_by_hand(np.ascontiguousarray(image[..., :3]))
        assert np.array_equal(image[..., 3], edges)
        # a picture of people has edges, and is not all edges
        assert 0.01 < (edges > 0).mean() < 0.5
