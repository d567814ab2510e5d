# Copyright (c) The mmlcr authors. All rights reserved.
"""Render clips of a motion program, each with a look of its own."""
from typing import Dict, NamedTuple, Tuple

import cv2
import numpy as np

from .body import PARTS, pose_body, turn
from .programs import MotionProgram

FPS = 25.  # frames a second of videos, in which intervals are counted
SUPERSAMPLING = 2  # frames are drawn larger and averaged
HEAD = 0.06  # radius, of the body's height
CLOTHES = {
    part: 'skin' if 'lower_arm' in part else
    'legs' if 'thigh' in part or 'shank' in part else 'top'
    for part in PARTS
}
THICKNESS = dict(skin=0.05, top=0.07, legs=0.07)  # of the body's height


class Look(NamedTuple):
    """What is drawn for a clip beside its motion."""
    background: np.ndarray  # float32, (H, W, 3)
    colors: Dict[str, Tuple[float, ...]]  # of THICKNESS's parts
    thickness: Dict[str, int]  # in pixels
    height: float  # of the body, in pixels
    centre: Tuple[float, float]  # of the hips in the middle of the clip
    yaw: float  # radians
    speed: float  # factor of the program's frequency
    phase: float  # radians
    amplitude: float  # factor of the joints' amplitudes
    start: float  # seconds
    drift: np.ndarray  # of the background, pixels a second, (2, )
    noise: float  # standard deviation, of 255
    gain: float


def draw_look(rng: np.random.Generator, program: MotionProgram,
              size: Tuple[int, int]) -> Look:
    """Draw body, clothes, ground, place, speed, phase and view.

    Args:
        rng (np.random.Generator): Source of randomness.
        program (MotionProgram): Motion that is seen.
        size (tuple[int, int]): Width and height of the drawing in pixels.

    Returns:
        Look: The look.
    """
    W, H = size
    height = rng.uniform(0.45, 0.95) * H
    colors = {
        part: tuple(rng.uniform(10, 245, 3).tolist()) for part in THICKNESS
    }
    if rng.random() < 0.3:
        colors['legs'] = colors['top']
    thickness = {
        part: max(1, int(height * share * rng.uniform(0.8, 1.3)))
        for part, share in THICKNESS.items()
    }
    moving = rng.random() < 0.2
    return Look(
        background=draw_background(rng, size),
        colors=colors,
        thickness=thickness,
        height=height,
        centre=(rng.uniform(0.3, 0.7) * W, rng.uniform(0.45, 0.6) * H),
        yaw=program.yaw + rng.normal(0, 0.2),
        speed=rng.uniform(0.85, 1.18),
        phase=rng.uniform(0, 2 * np.pi),
        amplitude=rng.uniform(0.8, 1.2),
        start=rng.uniform(0, 1),
        drift=rng.normal(0, 0.15, 2) * height * moving,
        noise=rng.uniform(0, 6),
        gain=rng.uniform(0.8, 1.2))


def draw_background(rng: np.random.Generator,
                    size: Tuple[int, int]) -> np.ndarray:
    """Draw smooth noise with up to four boxes, ``(H, W, 3)``, float32."""
    W, H = size
    cells = rng.integers(2, 24, 2)
    noise = rng.normal(0, rng.uniform(2, 40), (*cells, 3)).astype(np.float32)
    ground = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    ground += rng.uniform(40, 220, 3).astype(np.float32)
    for _ in range(rng.integers(0, 5)):
        x, y = int(rng.integers(0, W)), int(rng.integers(0, H))
        corner = x + int(rng.integers(4, W)), y + int(rng.integers(4, H))
        filled = rng.random() < 0.5
        cv2.rectangle(ground, (x, y), corner,
                      rng.uniform(20, 235, 3).tolist(), -1 if filled else 1)
    return ground


def render_clip(program: MotionProgram, rng: np.random.Generator,
                times: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Render a clip of a program.

    Args:
        program (MotionProgram): The program.
        rng (np.random.Generator): Source of the look.
        times (np.ndarray): Seconds of the frames, from zero, ``(T, )``.
        size (tuple[int, int]): Width and height of the frames.

    Returns:
        np.ndarray: RGB frames, uint8, ``(T, height, width, 3)``.
    """
    W, H = (SUPERSAMPLING * side for side in size)
    look = draw_look(rng, program, (W, H))
    program = program._replace(frequency=program.frequency * look.speed)
    frames = []
    for time in times:
        since_middle = time - times.mean()
        image = look.background.copy()
        if look.drift.any():
            shift = np.eye(2, 3, dtype=np.float32)
            shift[:, 2] = look.drift * since_middle
            image = cv2.warpAffine(
                image, shift, (W, H), borderMode=cv2.BORDER_REFLECT)
        draw_body(image, program, look, time + look.start, since_middle)
        image = look.gain * cv2.resize(
            image, size, interpolation=cv2.INTER_AREA)
        if look.noise > 1:
            image = image + rng.normal(0, look.noise, image.shape)
        frames.append(image.clip(0, 255).astype(np.uint8))
    return np.stack(frames)


def draw_body(image: np.ndarray, program: MotionProgram, look: Look,
              time: float, since_middle: float) -> None:
    """Draw the body at a time into an image.

    Args:
        image (np.ndarray): Float32, ``(H, W, 3)``, changed in place.
        program (MotionProgram): The program, with the clip's frequency.
        look (Look): The look of the clip.
        time (float): Seconds of the motion.
        since_middle (float): Seconds since the middle of the clip.
    """
    pose = pose_body(program, time, look.phase, look.amplitude)
    x, y = look.centre
    cos = np.cos(look.yaw)
    pace = 0.5 * np.sign(cos) * (1 if abs(cos) > 0.3 else 0.3)
    x += program.velocity * pace * since_middle * look.height
    y -= program.bounce * look.height * abs(
        np.sin(np.pi * program.frequency * time + program.bounce_phase))
    (ends, depth), (head, _) = (turn(points, look.yaw) for points in pose)
    origin, scale = np.array([x, y]), look.height * np.array([1, -1])
    ends = np.rint(origin + scale * ends).astype(int)
    for index in np.argsort(depth.mean(1), kind='stable'):
        kind = CLOTHES[PARTS[index]]
        width = look.thickness[kind]
        cv2.line(image, ends[index, 0].tolist(), ends[index, 1].tolist(),
                 look.colors[kind], width, cv2.LINE_AA if width > 1 else 8)
    cv2.circle(image, np.rint(origin + scale * head).astype(int).tolist(),
               max(1, int(HEAD * look.height)), look.colors['skin'], -1)
