# Copyright (c) The mmlcr authors. All rights reserved.
"""Kinds of input: how one is made of random numbers, and who reads it."""
import functools
import io
import os
import pickle
import random
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import cv2
import numpy as np
import torch
from mutations import ATOMS, change_atom, claim_image_size, mutate, noise
from safetensors.torch import save

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError
from mmlcr.engine import read_checkpoint, read_dump
from mmlcr.streaming import ImageFolder, Video

FRAMES, HEIGHT, WIDTH = 12, 48, 64  # a width that decord has no trouble with
CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG', '.xvid.avi': 'XVID',
          '.mkv': 'mp4v', '.webm': 'VP80'}
IMAGES = ('.jpg', '.png', '.webp', '.bmp', '.ppm', '.tif')
NUMBERS = ('0', '1', '2', '3', '-1', '-0', '007', '+1', '1.0', '1e3', '0x1',
           '1_0', '\u0661', '\u00b2', 'nan', 'inf', 'True', str(2**31 - 1),
           str(2**63), '9' * 30, '9' * 5000, '')
ABSOLUTE = ('/usr', '/dev/null', '/dev/zero')
PATHS = ('clip.mp4', 'clip.avi', 'frames', 'sub/clip.mp4', './clip.mp4',
         'empty', 'empty.mp4', 'folder.mp4', 'loop', 'notes.mp4', 'pipe',
         'gone.mp4', '.', '..', *ABSOLUTE, '~', 'clip.mp4\0', '\0',
         'clip.mp4/', 'clip.mp4/x', '\u00fc\u540d.mp4', 'clip.mp4\u202e',
         '%s%n', '{0}', '$HOME', '-', '"clip.mp4"', 'a b',
         'file:///clip.mp4', 'x' * 300, 'x' * 5000, 'x/' * 3000)
SEPARATORS = (' ', '  ', '\t', ',', ';', '\x0b', '\u3000', '\xa0', '\0', '')
LINE_ENDS = ('\n', '\r\n', '\r', '\n\n', '\x85', '\u2028', ' ')
ENCODINGS = ('utf-8', 'utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'cp437')


class Unnamed(Exception):
    """An error that does not say of which file it is."""


class Kind(NamedTuple):
    """A reader, and the inputs that it is given."""
    write: Callable[[random.Random, Path], None]  # into a folder of its own
    read: Callable[[random.Random, Path], Any]


# ---- good files, to begin with


@functools.lru_cache(maxsize=None)
def pictures() -> List[np.ndarray]:
    """Frames of a bright square that moves over a texture."""
    draws = np.random.RandomState(0)
    ground = draws.randint(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    frames = []
    for number in range(FRAMES):
        frame = ground.copy()
        frame[16:32, 2 * number:2 * number + 16] = 230
        frames.append(frame)
    return frames


@functools.lru_cache(maxsize=None)
def videos() -> Dict[str, bytes]:
    """By the ends of their names, those that OpenCV can write here."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in CODECS.items():
            path = os.path.join(folder, f'clip{suffix}')
            writer = cv2.VideoWriter(
                path, cv2.VideoWriter_fourcc(*codec), 25, (WIDTH, HEIGHT))
            if not writer.isOpened():
                continue
            for frame in pictures():
                writer.write(frame)
            writer.release()
            found[suffix] = _without_draws(Path(path).read_bytes())
    return found


def _without_draws(data: bytes) -> bytes:
    """Matroska's random identifiers and their sums by fixed ones."""
    for head, length in ((b'\x73\xa4\x90', 16), (b'\x73\xc5\x88', 8),
                         (b'\x63\xc5\x88', 8), (b'\xbf\x84', 4)):
        data = re.sub(
            re.escape(head) + b'.{%d}' % length,
            head + b'\x01' * length,
            data,
            flags=re.DOTALL)
    return data


@functools.lru_cache(maxsize=None)
def images() -> Dict[str, List[bytes]]:
    """Four pictures in each format, by the ends of their names."""
    return {
        suffix: [cv2.imencode(suffix, p)[1].tobytes() for p in pictures()[:4]]
        for suffix in IMAGES
    }


@functools.lru_cache(maxsize=None)
def weights() -> Dict[str, bytes]:
    """Checkpoints and a dump of predictions, by the ends of their names."""
    state = {f'layer{n}.weight': torch.arange(12.) / (n + 1) for n in range(3)}
    checkpoint = dict(state_dict=state, meta=dict(epoch=3, seed=0))
    found = {}
    for suffix, is_zip in (('.zip.pth', True), ('.old.pth', False)):
        file = io.BytesIO()
        torch.save(checkpoint, file, _use_new_zipfile_serialization=is_zip)
        found[suffix] = file.getvalue()
    found['.pkl'] = pickle.dumps([dict(pred_score=torch.ones(3), label=1)])
    return {**found, '.safetensors': save(state)}


# ---- bad ones


def write_list(rng: random.Random, folder: Path, *good: str) -> None:
    """A list of lines like a good one, and clips that they may name."""
    _write_clips(folder)
    lines = []
    for _ in range(rng.choice((1, 1, 2, 3, 20))):
        fields = [*good]
        for index in range(len(good)):
            if rng.random() < 0.15:
                fields[index] = rng.choice(PATHS if index == 0 else NUMBERS)
        if rng.random() < 0.05:
            fields.insert(rng.randrange(4), rng.choice(PATHS + NUMBERS))
        if rng.random() < 0.05:
            fields.pop()
        usual = rng.random() < 0.8
        separator = ' ' if usual else rng.choice(SEPARATORS)
        lines.append(separator.join(fields))
        lines.append('\n' if usual else rng.choice(LINE_ENDS))
    encoding = rng.choice(ENCODINGS)
    data = ''.join(lines).encode(encoding, 'replace')
    if rng.random() < 0.3:
        data = mutate(data, rng)
    if rng.random() < 0.02:
        (folder / 'list.txt').mkdir()
    else:
        (folder / 'list.txt').write_bytes(data)
    names = b'one\ntwo\nthree\n'
    (folder / 'classes.txt').write_bytes(
        mutate(names, rng) if rng.random() < 0.1 else names)


def _write_clips(folder: Path) -> None:
    for name in ('clip.mp4', 'clip.avi', 'sub/clip.mp4'):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(videos()[path.suffix])
    for name in ('empty', 'folder.mp4', 'frames'):
        (folder / name).mkdir()
    for number, data in enumerate(images()['.jpg'], 1):
        (folder / 'frames' / f'img_{number:05}.jpg').write_bytes(data)
    (folder / 'empty.mp4').touch()
    (folder / 'notes.mp4').write_text('not a video')
    (folder / 'loop').symlink_to(folder / 'loop')
    os.mkfifo(folder / 'pipe')


def write_images(rng: random.Random, folder: Path) -> None:
    """A folder of four images, one or two of them bad."""
    suffix = rng.choice(IMAGES)
    bad = rng.sample(range(1, 5), rng.choice((1, 2)))
    for number, data in enumerate(images()[suffix], 1):
        if number in bad:
            data = mutate(data, rng, claim_image_size)
            if rng.random() < 0.05:
                data = rng.choice((images()[rng.choice(IMAGES)][0],
                                   videos()['.mp4'], noise(rng, 500)))
        (folder / f'img_{number:05}.jpg').write_bytes(data)


def write_video(rng: random.Random, folder: Path) -> None:
    data = videos()[rng.choice([*videos()])]
    if rng.random() < 0.95:
        data = mutate(data, rng, change_atom)
    else:
        data = rng.choice((images()['.jpg'][0], noise(rng, 5000),
                           rng.choice(ATOMS) * 500))
    (folder / 'clip.mp4').write_bytes(data)


def write_weights(rng: random.Random, folder: Path) -> None:
    suffix = rng.choice([*weights()])
    name = 'weights.' + suffix.split('.')[-1]
    (folder / name).write_bytes(mutate(weights()[suffix], rng))


# ---- readers


def pipeline(rng: random.Random, *decode: str) -> List[dict]:
    """From files to the inputs of a model."""
    length, interval = rng.choice(((4, 1), (2, 3), (3, 1)))
    if decode[-1] != 'RawFrameDecode':
        length, interval = rng.choice(((4, 2), (12, 1), (2, 11)))
    sample = dict(
        type='SampleFrames',
        clip_len=length,
        frame_interval=interval,
        num_clips=rng.choice((1, 2)),
        test_mode=rng.random() < 0.5)
    if rng.random() < 0.3:
        sample = dict(type='UniformSample', clip_len=length)
    return [
        *(dict(type=name) for name in decode[:-1]), sample,
        dict(type=decode[-1]),
        dict(type='Resize', scale=(32, 32), keep_ratio=False),
        dict(type='EdgeMap'),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')
    ]


def read_set(rng: random.Random, folder: Path, kind: str,
             *decode: str) -> None:
    """Build a data set of a list and load its first samples."""
    raw = kind == 'ValidatedRawframeDataset'
    # not by build(): older MMEngine raises its errors there, in place of ours
    dataset = DATASETS.get(kind)(
        ann_file=str(folder / 'list.txt'),
        data_prefix={'img' if raw else 'video': str(folder)},
        num_classes=3,
        classes=str(folder / 'classes.txt'),
        check_files=rng.random() < 0.7,
        pipeline=pipeline(rng, *decode),
        **({} if raw or rng.random() < 0.8 else dict(delimiter=',')))
    for number in range(min(len(dataset), 3)):
        path = dataset.get_data_info(number)[dataset.clip_key]
        try:
            dataset[number]
        except ClipError as error:
            if path not in str(error):
                raise Unnamed(str(error)) from error
            raise


def read_clip(rng: random.Random, folder: Path, kind: str,
              *decode: str) -> None:
    """Load the one clip of a list that is good."""
    raw = kind == 'ValidatedRawframeDataset'
    line = '. 4 1\n' if raw else 'clip.mp4 1\n'
    (folder / 'list.txt').write_text(line)
    (folder / 'classes.txt').write_text('one\ntwo\nthree\n')
    read_set(rng, folder, kind, *decode)


def read_source(rng: random.Random, folder: Path, source: Callable) -> None:
    for frame in source(folder):
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3


def read_weights(rng: random.Random, folder: Path) -> None:
    path, = folder.iterdir()
    (read_dump if path.suffix == '.pkl' else read_checkpoint)(str(path))


def _writer(*good: str) -> Callable:
    return lambda rng, folder: write_list(rng, folder, *good)


VIDEOS, FOLDERS = 'ValidatedVideoDataset', 'ValidatedRawframeDataset'
PYAV, DECORD, OPENCV = ((f'{name}Init', f'{name}Decode')
                        for name in ('Video', 'Decord', 'OpenCV'))


def _reader(function: Callable, *args: Any) -> Callable:
    return lambda rng, folder: function(rng, folder, *args)


KINDS: Dict[str, Kind] = {
    'video list': Kind(
        _writer('clip.mp4', '1'), _reader(read_set, VIDEOS, *PYAV)),
    'frame list': Kind(
        _writer('frames', '4', '1'),
        _reader(read_set, FOLDERS, 'RawFrameDecode')),
    'frames': Kind(write_images, _reader(read_clip, FOLDERS,
                                         'RawFrameDecode')),
    'image folder': Kind(
        write_images,
        _reader(read_source, lambda folder: ImageFolder(str(folder)))),
    'video': Kind(write_video, _reader(read_clip, VIDEOS, *PYAV)),
    'video, Decord': Kind(write_video, _reader(read_clip, VIDEOS, *DECORD)),
    'video, OpenCV': Kind(write_video, _reader(read_clip, VIDEOS, *OPENCV)),
    'video source': Kind(
        write_video,
        _reader(read_source,
                lambda folder: Video(str(folder / 'clip.mp4')))),
    'checkpoint': Kind(write_weights, read_weights),
}
