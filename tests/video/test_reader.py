# Copyright (c) The mmlcr authors. All rights reserved.
"""Frames and times are those that a player shows, in order and by number."""
import io
import os
from pathlib import Path
from typing import Callable, Dict, Iterable, List

import av
import cv2
import numpy as np
import pytest
from encode import (
    FRAMES,
    HEIGHT,
    KINDS,
    PERIOD,
    WIDTH,
    cut,
    draw,
    encode,
    encode_audio,
    number_of,
)
from live_server import LiveServer

from mmlcr.video import SourceError, TruncatedVideoError, VideoReader

# which decord, OpenCV or both do not read right
WRONG_IN_DECORD = ('h264-10bit', 'hevc-10bit', 'av1', 'mpeg2', 'h264.ts',
                   'h264.h264')
WRONG_IN_OPENCV = 'h264-10bit', 'hevc-10bit'


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def video(kind: str, tmp_path: Path) -> Path:
    return encode(tmp_path / kind, **KINDS[kind])


def numbers_of(images: Iterable[np.ndarray]) -> List[int]:
    return [*map(number_of, images)]


def test_all_frames_in_order_and_at_their_times(kind: str,
                                                video: Path) -> None:
    frames = [*VideoReader(str(video))]
    turns = KINDS[kind].get('rotation', 0) // 90
    images = [np.rot90(frame.image, -turns) for frame in frames]
    assert images[0].shape == (HEIGHT, WIDTH, 3)
    assert numbers_of(images) == [*range(FRAMES)]
    red = [image[4, x, 0] > 80 for image in images for x in (4, WIDTH - 4)]
    assert red == [True, False] * FRAMES
    expected = [number * PERIOD for number in range(FRAMES)]
    assert [f.seconds for f in frames] == pytest.approx(expected, abs=1e-3)


def test_frames_by_number_are_those_in_order(video: Path) -> None:
    reader = VideoReader(str(video))
    frames = [*reader]
    assert len(reader) == len(frames)
    assert reader.times.tolist() == [frame.seconds for frame in frames]
    assert reader.fps == pytest.approx(25, abs=0.1)
    for numbers in ([FRAMES - 1], [17, 3, 3, 9], [*range(FRAMES)]):
        for number, image in zip(numbers, reader.frames_at(numbers)):
            assert np.array_equal(image, frames[number].image)
    height, width = frames[0].image.shape[:2]
    assert reader.size == (width, height)


def test_pixels_are_those_of_decord_and_opencv(kind: str, video: Path) -> None:
    frames = [frame.image for frame in VideoReader(str(video))]
    if not kind.startswith(WRONG_IN_OPENCV):
        capture = cv2.VideoCapture(str(video))
        for frame in frames:
            assert np.array_equal(capture.read()[1][..., ::-1], frame)
        assert not capture.read()[0]
    if not kind.startswith(WRONG_IN_DECORD):
        decord = pytest.importorskip('decord')
        found = decord.VideoReader(str(video)).get_batch(range(FRAMES))
        assert np.array_equal(found.asnumpy(), frames)


def test_interlaced_frames_are_as_of_decord(tmp_path: Path) -> None:
    decord = pytest.importorskip('decord')
    path = str(encode(tmp_path / 'tv.mp4', options=dict(flags='+ilme+ildct')))
    assert next(av.open(path).decode(video=0)).interlaced_frame
    found = decord.VideoReader(path).get_batch(range(FRAMES)).asnumpy()
    assert np.array_equal(found, VideoReader(path).frames_at(range(FRAMES)))


def test_frames_that_an_edit_list_hides_are_none(tmp_path: Path) -> None:
    path = cut(encode(tmp_path / 'a.mp4'), tmp_path / 'cut.mp4', 8 * PERIOD)
    reader = VideoReader(str(path))
    assert (reader.stream.frames, len(reader)) == (FRAMES, FRAMES - 8)
    assert numbers_of(reader.frames_at(range(16))) == [*range(8, 24)]
    assert numbers_of([f.image for f in reader]) == [*range(8, 24)]
    assert reader.times == pytest.approx(np.arange(16) * PERIOD)


def test_times_of_a_changing_rate(tmp_path: Path) -> None:
    times = [0., 0.04, 0.08, 0.28, 0.48, 0.5, 1.5]
    for name in ('a.mp4', 'a.mkv'):
        path = encode(tmp_path / name, frames=draw(7), times=times)
        reader = VideoReader(str(path))
        assert reader.times.tolist() == pytest.approx(times)
        assert [f.seconds for f in reader] == pytest.approx(times)
        assert reader.fps == pytest.approx(6 / 1.5)


def test_joined_files_have_times_that_grow(tmp_path: Path) -> None:
    """Times of the second file restart at zero; its frames still follow."""
    parts = [encode(tmp_path / f'{i}.ts', codec='mpeg2video',
                    frames=draw()[12 * i:12 * i + 12]) for i in range(2)]
    path = tmp_path / 'joined.ts'
    path.write_bytes(b''.join(part.read_bytes() for part in parts))
    reader = VideoReader(str(path))
    images = [frame.image for frame in reader]
    assert numbers_of(images) == [*range(24)]
    assert (np.diff(reader.times) > 0).all()
    assert np.array_equal(reader.frames_at(range(24)), images)


def test_frames_of_another_size_take_that_of_the_first(
        tmp_path: Path) -> None:
    """A browser may change the size while it records."""
    small = [cv2.resize(frame, (48, 32)) for frame in draw(6)]
    parts = [encode(tmp_path / 'a.ts', codec='mpeg2video', frames=draw(6)),
             encode(tmp_path / 'b.ts', codec='mpeg2video', frames=small)]
    path = tmp_path / 'joined.ts'
    path.write_bytes(b''.join(part.read_bytes() for part in parts))
    shapes = {frame.image.shape for frame in VideoReader(str(path))}
    assert shapes == {(HEIGHT, WIDTH, 3)}


@pytest.mark.parametrize('at', [0, 9, 23])
def test_a_damaged_packet_costs_its_frame_alone(at: int,
                                                tmp_path: Path) -> None:
    """The nearest frame in time replaces it."""
    path = encode(tmp_path / 'a.mkv', codec='mjpeg', pixels='yuvj420p')
    with av.open(str(path)) as file:
        packets = [bytes(p) for p in file.demux(video=0) if p.size]
    data = path.read_bytes()
    path.write_bytes(data.replace(packets[at], bytes(len(packets[at]))))
    numbers = numbers_of(VideoReader(str(path)).frames_at(range(24)))
    assert numbers[:at] + numbers[at + 1:] == [
        n for n in range(24) if n != at]
    assert abs(numbers[at] - at) == 1
    assert len([*VideoReader(str(path))]) == 23


def test_a_keyframe_that_is_elsewhere_is_no_harm(tmp_path: Path) -> None:
    path = str(encode(tmp_path / 'a.mp4', options=dict(g='6')))
    expected = VideoReader(path).frames_at([3, 14, 22])
    reader = VideoReader(path)
    _, pts, _ = reader.index
    reader._index = reader.index._replace(keyframes=[pts[0], pts[10], pts[20]])
    assert np.array_equal(reader.frames_at([3, 14, 22]), expected)


def test_a_truncated_video_gives_what_it_has(tmp_path: Path) -> None:
    path = encode(tmp_path / 'a.mp4', codec='mjpeg', pixels='yuvj420p',
                  container=dict(movflags='faststart'))
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 6 // 10])
    reader, frames = VideoReader(str(path)), []
    with pytest.raises(TruncatedVideoError, match=r'a.mp4: broke off after '
                       r'0.\d\d of 0.96 seconds'):
        for frame in reader:
            frames.append(frame.image)
    assert 5 < len(frames) == len(reader) < FRAMES
    assert np.array_equal(reader.frames_at(range(len(frames))), frames)


def test_a_file_object_is_read_as_a_file(tmp_path: Path) -> None:
    path = encode(tmp_path / 'a.mp4')
    expected = [frame.image for frame in VideoReader(str(path))]
    reader = VideoReader(io.BytesIO(path.read_bytes()), 'upload')
    assert np.array_equal(reader.frames_at(range(FRAMES)), expected)
    assert np.array_equal([frame.image for frame in reader], expected)


def test_repeated_frames_share_no_memory(tmp_path: Path) -> None:
    """MMAction2's Flip works in place."""
    first, again = VideoReader(str(encode(tmp_path / 'a.mp4'))).frames_at([3,
                                                                           3])
    first[:] = 0
    assert again.any()


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    text, sound = tmp_path / 'text.mp4', encode_audio(tmp_path / 'sound.m4a')
    text.write_text('no video')
    unknown = encode(tmp_path / 'unknown.mp4')
    unknown.write_bytes(unknown.read_bytes().replace(b'avc1', b'xyz9'))
    cover = encode(tmp_path / 'cover.mp4', cover=True)
    cover.write_bytes(cover.read_bytes().replace(b'avc1', b'xyz9'))
    for path, message in ((tmp_path / 'none.mp4', 'No such file'),
                          (text, 'not a video that can be opened: Invalid'),
                          (sound, r'no video stream, only audio \(aac\)'),
                          (unknown, 'no decoder for its codec.*ffmpeg -i'),
                          (cover, 'no ')):
        with pytest.raises(SourceError, match=f'{path.name}: .*{message}'):
            VideoReader(str(path))


def test_a_file_names_no_address(tmp_path: Path,
                                 make_frames: Callable) -> None:
    """Addresses in a list of videos are not opened."""
    server = LiveServer(tmp_path, make_frames(6))
    encode(tmp_path / 'a.ts', 'mpeg2video')
    text = (f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n'
            f'{server.address("a.ts")}\n#EXT-X-ENDLIST\n').encode()
    (tmp_path / 'list.mp4').write_bytes(text)
    try:
        for video in str(tmp_path / 'list.mp4'), io.BytesIO(text):
            with pytest.raises(SourceError):
                VideoReader(video).frames_at([0])
        assert server.visits == 0
    finally:
        server.close()


def test_a_codec_without_frames_is_named(tmp_path: Path) -> None:
    path = encode(tmp_path / 'a.mkv', codec='mjpeg', pixels='yuvj420p')
    with av.open(str(path)) as file:
        packets = [bytes(p) for p in file.demux(video=0) if p.size]
    data = path.read_bytes()
    for packet in packets:
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r'a.mkv: no frame of it can be '
                       r'decoded.*codec mjpeg.*ffmpeg -i'):
        VideoReader(str(path)).frames_at([0])


def test_numbers_out_of_range_are_named(tmp_path: Path) -> None:
    reader = VideoReader(str(encode(tmp_path / 'a.mp4')))
    for number in (-1, FRAMES):
        with pytest.raises(IndexError, match=f'a.mp4: .*0 to 23.*{number}'):
            reader.frames_at([0, number])


# ---- files of users


@pytest.mark.parametrize('name, frames, times', [
    ('cut_without_reencoding.mp4', 52, {1: 0.04, 51: 2.08}),
    ('vfr.mp4', 41, {30: 1.2, 40: 3.2}),
    ('browser_recording.webm', 84, {1: 0.047, 83: 3.326}),
    ('av1.mp4', 16, {15: 0.6}),
    ('five_fps.mp4', 17, {16: 3.2}),
])
def test_files_that_failed_once(name: str, frames: int,
                                times: Dict[int, float],
                                cases: Path) -> None:
    reader = VideoReader(str(cases / name))
    images = [frame.image for frame in reader]
    assert len(images) == len(reader) == frames
    for number, seconds in times.items():
        assert reader.times[number] == pytest.approx(seconds)
    numbers = [frames - 1, frames // 2, 0]
    for number, image in zip(numbers, reader.frames_at(numbers)):
        assert np.array_equal(image, images[number])


@pytest.mark.parametrize('name', ['apply_eye_makeup.avi', 'boxing.mp4'])
def test_real_clips_are_as_of_decord(name: str, shared_data: Path) -> None:
    """Read in order, since decord's frames by number differ for the AVI."""
    decord = pytest.importorskip('decord')
    path = str(shared_data / 'clips' / name)
    theirs = decord.VideoReader(path)
    reader = VideoReader(path)
    numbers = range(len(theirs))
    assert len(reader) == len(theirs)
    for number, image in zip(numbers, reader.frames_at(numbers)):
        assert np.array_equal(image, theirs.next().asnumpy()), number


def test_threads_change_nothing(tmp_path: Path) -> None:
    path = str(encode(tmp_path / 'a.mp4'))
    assert np.array_equal(VideoReader(path).frames_at([5, 20]),
                          VideoReader(path, num_threads=3).frames_at([5, 20]))


def test_a_large_set_leaves_no_open_files(tmp_path: Path) -> None:
    """A reader is closed when it is deleted."""
    path = str(encode(tmp_path / 'a.mp4'))
    folder = Path('/proc/self/fd')
    if not folder.is_dir():
        pytest.skip('the system does not list open files')
    VideoReader(path).frames_at([0])
    before = len([*folder.iterdir()])
    for _ in range(20):
        VideoReader(path).frames_at([3])
    assert len([*folder.iterdir()]) <= before + 1


def test_encoders_of_tests_leave_the_scheduling(tmp_path: Path) -> None:
    """See :func:`encode.same_scheduling`."""
    before = os.sched_getscheduler(0)
    encode(tmp_path / 'av1.mp4', 'libsvtav1')
    assert os.sched_getscheduler(0) == before
