# Copyright (c) The mmlcr authors. All rights reserved.
"""Videos of the kinds that cameras, browsers and editors write, by PyAV."""
import contextlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import av
import numpy as np
from av.stream import Disposition

# sides in multiples of 32: decord fails on some others
FRAMES, HEIGHT, WIDTH = 24, 64, 96
BAR = WIDTH // FRAMES
PERIOD = 1 / 25  # seconds between frames
MATRICES = {  # of MP4, by how far a player turns the picture
    0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1),
    270: (0, 1, -1, 0)}

# what is passed to encode(), by the name of the file
KINDS: Dict[str, Dict[str, Any]] = {
    'h264.mp4': {},
    'h264-10bit.mp4': dict(pixels='yuv420p10le'),
    'h264-444.mp4': dict(pixels='yuv444p'),
    'h264-gray.mp4': dict(pixels='gray'),
    'h264-keyframes.mp4': dict(options=dict(g='4', bf='2')),
    'h264-b.avi': dict(options=dict(bf='2')),
    'h264.ts': dict(options=dict(g='8')),
    'h264.h264': {},
    'hevc-10bit.mp4': dict(
        codec='libx265', pixels='yuv420p10le',
        options={'x265-params': 'log-level=none'}),
    'vp8.webm': dict(codec='libvpx'),
    'vp9.webm': dict(codec='libvpx-vp9'),
    'av1.mp4': dict(codec='libsvtav1'),
    'mpeg2.mpg': dict(codec='mpeg2video'),
    'mpeg2.ts': dict(codec='mpeg2video'),
    'mpeg4.avi': dict(codec='mpeg4', options=dict(bf='0')),
    'mpeg4-b.avi': dict(codec='mpeg4', options=dict(bf='2')),
    'mjpeg.avi': dict(codec='mjpeg', pixels='yuvj420p'),
    'fragmented.mp4': dict(container=dict(
        movflags='frag_keyframe+empty_moov')),
    'offset.mkv': dict(times=[1.5 + t * PERIOD for t in range(FRAMES)]),
    'cover.mp4': dict(cover=True),
    'audio.mp4': dict(audio=3.),
    'rotated-90.mp4': dict(rotation=90),
    'rotated-180.mp4': dict(rotation=180),
    'rotated-270.mp4': dict(rotation=270),
}


def draw(num_frames: int = FRAMES) -> List[np.ndarray]:
    """Frames with a bar in the lower half, whose place is their number."""
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 60, np.uint8)
    for number, frame in enumerate(frames):
        frame[HEIGHT // 2:, BAR * number:BAR * (number + 1)] = 200
        frame[:HEIGHT // 4, :WIDTH // 4, 0] = 160
    return [*frames]


def number_of(image: np.ndarray) -> int:
    """Of a frame that was drawn; any size of it will do."""
    height, width = image.shape[:2]
    brightness = image[height // 2:].mean((0, 2))
    return int(brightness.reshape(FRAMES, -1).mean(1).argmax())


@contextlib.contextmanager
def same_scheduling() -> Iterator[None]:
    """Restore the scheduling policy of the thread.

    As root, the AV1 encoder makes the calling thread real-time, and with it
    every process that the thread starts later: a browser then starves all
    others.
    """
    if not hasattr(os, 'sched_getscheduler'):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def encode(path: Path,
           codec: str = 'libx264',
           *,
           frames: Optional[Sequence[np.ndarray]] = None,
           times: Optional[Sequence[float]] = None,
           pixels: str = 'yuv420p',
           options: Optional[Dict[str, str]] = None,
           container: Optional[Dict[str, str]] = None,
           audio: float = 0.,
           cover: bool = False,
           rotation: int = 0) -> Path:
    """Write a video; times are of its frames, 25 a second without."""
    frames = draw() if frames is None else frames
    with same_scheduling(), av.open(
            str(path), 'w', container_options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        sound = file.add_stream('aac', rate=8000) if audio else None
        if cover:
            picture = file.add_stream('mjpeg', rate=1)
            picture.height, picture.width, picture.pix_fmt = 32, 32, 'yuvj420p'
            picture.disposition = Disposition.attached_pic.value
            _write(file, picture, [_frame(np.zeros((32, 32, 3), np.uint8))])
        pictures = [*map(_frame, frames)]
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
            for each, at in zip(pictures, times):
                each.pts, each.time_base = round(1000 * at), Fraction(1, 1000)
        _write(file, stream, pictures)
        if sound is not None:
            _write(file, sound, _silence(audio))
    if rotation:
        turn(path, rotation)
    return path


def _frame(image: np.ndarray) -> Any:
    return av.VideoFrame.from_ndarray(image, format='rgb24')


def _silence(seconds: float) -> List[Any]:
    found = []
    for number in range(round(seconds * 8000 / 1024)):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        frame.sample_rate, frame.pts = 8000, number * 1024
        found.append(frame)
    return found


def _write(file: Any, stream: Any, frames: Sequence[Any]) -> None:
    for frame in [*frames, None]:
        for packet in stream.encode(frame):
            file.mux(packet)


def encode_audio(path: Path) -> Path:
    """Write a file without a picture."""
    with av.open(str(path), 'w') as file:
        _write(file, file.add_stream('aac', rate=8000), _silence(0.5))
    return path


def turn(path: Path, degrees: int) -> None:
    """Ask players of an MP4 to turn it, as phones do."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value % 2**16 * 2**16 for value in MATRICES[degrees])
    matrix = b''.join(value.to_bytes(4, 'big') for value in (
        a, b, 0, c, d, 0, 0, 0, 2**30))
    start = data.index(b'tkhd') + 4 + 40  # a header of version 0
    data[start:start + 36] = matrix
    path.write_bytes(data)


def cut(source: Path, path: Path, seconds: float) -> Path:
    """Cut the start off without decoding: an edit list hides frames."""
    with av.open(str(source)) as file, av.open(str(path), 'w') as out:
        stream = file.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in file.demux(stream):
            if packet.dts is not None:
                shift = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                out.mux(packet)
    return path
