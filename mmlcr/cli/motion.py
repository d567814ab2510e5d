# Copyright (c) The mmlcr authors. All rights reserved.
"""Render the motion set: labelled motions as small video files.

Every clip shows one textured shape over a textured background. The picture
is a torus: a shape that leaves on one side enters on the other. Position,
angle and size of the shape have the same distribution for every class and
frame, so that a single frame carries no information about the class. No
texture is used twice, and every split has its own random streams.
"""
import argparse
import json
import os
import os.path as osp
import shutil
from typing import Callable, Dict, Tuple

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

FPS = 25
SPLITS = ('train', 'val', 'test')

# pose at time t (frames) for a speed in pixels a frame: dx, dy, degrees
Pose = Callable[[float, float], Tuple[float, float, float]]


def _glide(x: int, y: int) -> Pose:
    norm = (x * x + y * y)**0.5
    return lambda t, speed: (x * speed * t / norm, y * speed * t / norm, 0.)


def _spin(sign: int) -> Pose:
    return lambda t, speed: (0., 0., sign * 4 * speed * t)


def _sway(t: float, speed: float) -> Tuple[float, float, float]:
    amplitude = 6.  # pixels; the peak speed is that of the other motions
    return amplitude * np.sin(1.5 * speed * t / amplitude), 0., 0.


MOTIONS: Dict[str, Pose] = {
    'left': _glide(-1, 0),
    'right': _glide(1, 0),
    'up': _glide(0, -1),
    'down': _glide(0, 1),
    'up_left': _glide(-1, -1),
    'up_right': _glide(1, -1),
    'down_left': _glide(-1, 1),
    'down_right': _glide(1, 1),
    'clockwise': _spin(-1),
    'counterclockwise': _spin(1),
    'sway': _sway,
    'still': lambda t, speed: (0., 0., 0.),
}
# components of the motions, for clips with several labels
PARTS = ('left', 'right', 'up', 'down', 'clockwise', 'counterclockwise',
         'sway')
SPEED = (1.5, 3.)  # pixels a frame in a picture of 64
BACKGROUND, SURFACE = (50, 130), (130, 210)  # grey levels, of 255


def texture(rng: np.random.Generator, size: int,
            centre: Tuple[float, float]) -> np.ndarray:
    """Coloured noise in two octaves that tiles, uint8 ``(size, size, 3)``.

    Every channel varies around a level drawn from the range ``centre``.
    """
    noise = np.zeros((size, size, 3), np.float32)
    for cells, weight in ((4, 1.), (8, .7)):
        grid = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        grid = np.pad(grid, ((2, 2), (2, 2), (0, 0)), mode='wrap')
        scale = size / cells
        octave = cv2.resize(
            grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        edge = int(2 * scale)
        noise += weight * octave[edge:edge + size, edge:edge + size]
    level = rng.uniform(*centre, size=3)
    return np.clip(level + 30 * noise, 0, 255).astype(np.uint8)


def shape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Mask of an irregular polygon in the middle, float ``(size, size)``."""
    corners = rng.integers(3, 7)
    angle = (np.arange(corners) + rng.uniform(-.25, .25, corners))
    angle = 2 * np.pi * (angle / corners + rng.uniform())
    radius = size * rng.uniform(.2, .34, corners)
    points = size / 2 + radius[:, None] * np.stack(
        [np.cos(angle), np.sin(angle)], axis=1)
    mask = np.zeros((size, size), np.uint8)
    fixed = np.round(points * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
    return mask.astype(np.float32) / 255


def render(motion: str, rng: np.random.Generator, size: int,
           num_frames: int) -> np.ndarray:
    """A clip, uint8 BGR ``(num_frames, size, size, 3)``."""
    background = texture(rng, size, BACKGROUND)
    surface = texture(rng, size, SURFACE)
    mask = shape(rng, size)
    layer = np.dstack([surface * mask[..., None], mask]).astype(np.float32)
    place, phase = rng.uniform(0, size, 2), rng.uniform(0, 1000)
    angle = rng.uniform(0, 360)  # every class is resampled alike
    speed = rng.uniform(*SPEED) * size / 64
    frames = []
    for t in range(num_frames):
        dx, dy, degrees = MOTIONS[motion](t + phase, speed)
        turn = cv2.getRotationMatrix2D((size / 2, size / 2),
                                       angle + degrees, 1)
        moved = cv2.warpAffine(layer, turn, (size, size))
        shift = np.array([[1, 0, (place[0] + dx) % size],
                          [0, 1, (place[1] + dy) % size]], np.float32)
        moved = cv2.warpAffine(
            moved, shift, (size, size), borderMode=cv2.BORDER_WRAP)
        alpha = moved[..., 3:]
        frame = moved[..., :3] + (1 - alpha) * background
        frames.append(np.clip(np.round(frame), 0, 255).astype(np.uint8))
    return np.stack(frames)


def write_video(path: str, frames: np.ndarray) -> None:
    """Write BGR frames as MPEG-4.

    Raises:
        OSError: If the encoder does not open, or leaves nothing.
    """
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'mp4v'), FPS,
                             (width, height))
    if not writer.isOpened():
        raise OSError(f'cannot write the video {path}')
    for frame in frames:
        writer.write(frame)
    writer.release()
    if not osp.exists(path) or not osp.getsize(path):
        raise OSError(f'writing the video {path} left nothing: disk full?')


def make_split(out: str, split: str, clips: int, size: int, num_frames: int,
               seed: int) -> None:
    """Render a split, ``clips`` of every motion, and write its list."""
    os.makedirs(osp.join(out, 'videos', split), exist_ok=True)
    jobs = [(motion, label, index) for index in range(clips)
            for label, motion in enumerate(MOTIONS)]
    lines = []
    print(f'{split}: {len(jobs)} clips')
    for motion, label, index in track_iter_progress(jobs):
        rng = np.random.default_rng([seed, SPLITS.index(split), label, index])
        name = f'{split}/{motion}_{index:04d}.mp4'
        write_video(
            osp.join(out, 'videos', name),
            render(motion, rng, size, num_frames))
        lines.append(f'{name} {label}\n')
    print()
    with open(osp.join(out, f'{split}.txt'), 'w') as file:
        file.writelines(lines)


def write_multilabel(out: str, split: str, clips: int) -> None:
    """List the clips of a split by the parts of their motions.

    ``up_left`` is ``up`` and ``left``, ``still`` none of the parts.
    """
    with open(osp.join(out, f'multilabel_{split}.txt'), 'w') as file:
        for index in range(clips):
            for motion in MOTIONS:
                labels = [str(PARTS.index(part))
                          for part in motion.split('_') if part in PARTS]
                name = f'{split}/{motion}_{index:04d}.mp4'
                file.write(' '.join([name, *labels]) + '\n')


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    done = osp.join(args.out, 'motion.json')
    settings = dict(
        clips=list(args.clips),
        size=args.size,
        frames=args.frames,
        seed=args.seed)
    os.makedirs(args.out, exist_ok=True)
    for split, clips in zip(SPLITS, args.clips):
        write_multilabel(args.out, split, clips)
    if osp.exists(done):
        with open(done) as file:
            if json.load(file) == settings:
                print(f'{args.out} is already rendered')
                return
        os.remove(done)
    shutil.rmtree(osp.join(args.out, 'videos'), ignore_errors=True)
    for split, clips in zip(SPLITS, args.clips):
        make_split(args.out, split, clips, args.size, args.frames, args.seed)
    with open(osp.join(args.out, 'classes.txt'), 'w') as file:
        file.writelines(f'{motion}\n' for motion in MOTIONS)
    with open(done, 'w') as file:  # last: it marks the set as complete
        json.dump(settings, file)
