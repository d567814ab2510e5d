# Copyright (c) The mmlcr authors. All rights reserved.
"""What a clip shows beside its motion: bodies, clothes, ground, camera."""
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from .body import ADULT, PARTS, Shape
from .programs import Scene

Color = Tuple[float, ...]

# of the body's height
WIDTHS = dict(
    torso=0.09, upper_arm=0.05, lower_arm=0.045, thigh=0.065, shank=0.05,
    foot=0.04)
SHORT = 0.3  # probability of short sleeves, and of short trousers
# probabilities at full difficulty
CLOSE, DRIFTING, SHAKING, FOLLOWING, ZOOMING = 0.1, 0.2, 0.1, 0.1, 0.05
SHADOW, OCCLUDER, EXPOSED, COMPRESSED, FLICKERING = 0.3, 0.1, 0.3, 0.3, 0.05


class PersonLook(NamedTuple):
    """A body and its clothes."""
    shape: Shape
    size: float  # factor of the scene's scale
    colors: Dict[str, Color]  # of WIDTHS' parts, head and hair
    widths: Dict[str, float]  # of WIDTHS' parts, of the body's height


class Camera(NamedTuple):
    """A camera that may move."""
    yaw: float  # radians, from which the scene is seen
    pitch: float  # radians downwards
    distance: float  # body heights
    scale: float  # pixels a body height
    centre: Tuple[float, float]  # of the scene, in pixels
    path: np.ndarray  # of the picture, in pixels, (T, 2)
    zoom: np.ndarray  # factor of the scale, (T, )
    follows: bool  # whether it keeps the people where they are


class Look(NamedTuple):
    """Everything that is sampled for a clip."""
    camera: Camera
    people: Tuple[PersonLook, ...]
    background: np.ndarray  # uint8, (H, W, 3)
    occluder: Optional[Tuple[int, int, int, int]]  # corners of a box
    occluder_color: Color
    prop_color: Color
    shadow: float  # opacity, 0: none
    speed: float  # factor of the motion's
    shift: float  # of the motion, seconds
    amplitude: float  # factor of the joints'
    exposure: float  # seconds, 0: no motion blur
    noise: float  # standard deviation, of 255
    gain: np.ndarray  # (T, )
    quality: Optional[int]  # of JPEG


def sample_look(rng: np.random.Generator,
                scene: Scene,
                times: np.ndarray,
                size: Tuple[int, int],
                difficulty: float = 1.) -> Look:
    """Sample bodies, clothes, ground, place, speed, phase, light and view.

    Args:
        rng (np.random.Generator): Source of randomness.
        scene (Scene): The motions that are seen.
        times (np.ndarray): Seconds of the frames, ``(T, )``.
        size (tuple[int, int]): Width and height of the drawing in pixels.
        difficulty (float): Factor of the probabilities of all that hides or
            blurs the motion, from 0 to 1. Defaults to 1.

    Returns:
        Look: The look.
    """

    def maybe(probability: float) -> bool:
        return bool(rng.random() < difficulty * probability)

    W, H = size
    motion = scene.actors[0].motion
    duration = max(actor.motion.duration for actor in scene.actors)
    shift = rng.uniform(0, 1 / motion.frequency)
    if np.isfinite(duration):  # seen in the middle of the clip
        shift = duration * rng.uniform(0.3, 0.7)
    occluder = None
    if maybe(OCCLUDER):
        x, y = rng.uniform(0, W), rng.uniform(-0.5, 1) * H
        occluder = (int(x), int(y), int(x + rng.uniform(0.03, 0.25) * W),
                    int(y + rng.uniform(0.2, 1.5) * H))
    frames = len(times)
    return Look(
        camera=sample_camera(rng, scene, times, size, maybe),
        people=tuple(sample_person(rng) for _ in scene.actors),
        background=sample_background(rng, size),
        occluder=occluder,
        occluder_color=_color(rng),
        prop_color=_color(rng),
        shadow=maybe(SHADOW) * rng.uniform(0.2, 0.7),
        speed=rng.uniform(0.85, 1.18),
        shift=shift,
        amplitude=rng.uniform(0.8, 1.2),
        exposure=maybe(EXPOSED) * rng.uniform(0.01, 0.06),
        noise=difficulty * rng.uniform(0, 6),
        gain=rng.uniform(0.8, 1.2) + maybe(FLICKERING) * rng.normal(
            0, 0.03, frames),
        quality=int(rng.integers(30, 90)) if maybe(COMPRESSED) else None)


def sample_camera(rng: np.random.Generator, scene: Scene, times: np.ndarray,
                  size: Tuple[int, int],
                  maybe: Callable[[float], bool]) -> Camera:
    """Sample the view, and how the camera drifts, shakes and zooms.

    Args:
        rng (np.random.Generator): Source of randomness.
        scene (Scene): The motions that are seen.
        times (np.ndarray): Seconds of the frames, ``(T, )``.
        size (tuple[int, int]): Width and height of the drawing in pixels.
        maybe (Callable[[float], bool]): Draws whether something happens that
            has a probability.
    """
    W, H = size
    two = len(scene.actors) > 1
    scale = rng.uniform(0.4, 0.75) if two else rng.uniform(0.4, 0.95)
    across, down = rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.6)
    if maybe(CLOSE):  # the upper body
        scale *= 2
        down += 0.4
    since_middle = times - times.mean()
    path = np.zeros((len(times), 2))
    if maybe(DRIFTING):
        path += since_middle[:, None] * rng.normal(0, 0.15, 2) * scale * H
    if maybe(SHAKING):
        path += rng.normal(0, rng.uniform(0.002, 0.008), path.shape) * H
    zoom = np.ones(len(times))
    if maybe(ZOOMING):
        zoom = np.exp(rng.normal(0, 0.15) * since_middle)
    return Camera(
        yaw=scene.yaw + rng.normal(0, 0.25),
        pitch=rng.uniform(-0.1, 0.35),
        distance=rng.uniform(3, 10),
        scale=scale * H,
        centre=(across * W, down * H),
        path=path,
        zoom=zoom,
        follows=maybe(FOLLOWING))


def sample_person(rng: np.random.Generator) -> PersonLook:
    """Sample a body and its clothes."""
    arm, leg = rng.uniform(0.85, 1.15, 2)
    shape = ADULT._replace(
        upper_arm=ADULT.upper_arm * arm,
        lower_arm=ADULT.lower_arm * arm,
        thigh=ADULT.thigh * leg,
        shank=ADULT.shank * leg,
        torso=ADULT.torso * rng.uniform(0.9, 1.1),
        shoulder=ADULT.shoulder * rng.uniform(0.8, 1.3),
        hip=ADULT.hip * rng.uniform(0.8, 1.3),
        head=ADULT.head * rng.uniform(0.9, 1.4))
    skin, top, legs, shoes, hair = (_color(rng) for _ in range(5))
    if rng.random() < 0.3:
        legs = top
    bare_arm, bare_leg = rng.random(2) < SHORT
    colors = dict(
        torso=top, upper_arm=top, lower_arm=skin if bare_arm else top,
        thigh=legs, shank=skin if bare_leg else legs, foot=shoes, head=skin,
        hair=hair)
    build = rng.uniform(0.8, 1.4)
    widths = {
        part: build * width * rng.uniform(0.85, 1.2)
        for part, width in WIDTHS.items()
    }
    return PersonLook(shape, rng.uniform(0.85, 1.1), colors, widths)


def sample_background(rng: np.random.Generator,
                      size: Tuple[int, int]) -> np.ndarray:
    """Sample smooth noise with boxes and lines, uint8, ``(H, W, 3)``."""
    W, H = size
    cells = rng.integers(2, 32, 2)
    noise = rng.normal(0, rng.uniform(2, 45), (*cells, 3)).astype(np.float32)
    ground = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    ground += rng.uniform(40, 220, 3).astype(np.float32)
    image = ground.clip(0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 8)):
        x, y = int(rng.integers(0, W)), int(rng.integers(0, H))
        corner = x + int(rng.integers(4, W)), y + int(rng.integers(4, H))
        kind = rng.random()
        if kind < 0.3:
            cv2.line(image, (x, y), corner, _color(rng),
                     int(rng.integers(1, 6)))
        else:
            cv2.rectangle(image, (x, y), corner, _color(rng),
                          -1 if kind < 0.65 else int(rng.integers(1, 4)))
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
                        cv2.COLOR_GRAY2RGB)
    colorful = rng.uniform(0, 1)
    return cv2.addWeighted(image, colorful, gray, 1 - colorful, 0)


def _color(rng: np.random.Generator) -> Color:
    color = rng.uniform(10, 245, 3)
    return tuple((color + rng.uniform(0, 1) *
                  (color.mean() - color)).tolist())


def part_kind(part: str) -> str:
    """Return the key of a part's colour and width: without its side."""
    return part.split('_', 1)[-1]


KINDS = tuple(part_kind(part) for part in PARTS)
