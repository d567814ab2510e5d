# Copyright (c) The mmlcr authors. All rights reserved.
"""Render clips of a scene, each with a look of its own."""
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from .body import PARTS, pose_body, turn
from .look import KINDS, Camera, Look, PersonLook, sample_look
from .programs import Actor, Prop, Scene

FPS = 25.  # frames a second of videos, in which intervals are counted
SUPERSAMPLING = 2  # frames are drawn larger and averaged
SUBPIXEL = 3  # bits of the fractions of OpenCV's fixed-point coordinates
UNIT = 2**SUBPIXEL
FAR = 2**20  # outside of every picture
PROP_SIZE = 0.05  # of the body's height
GROUND = -0.55  # height of the ground, of the body's height
EXPOSURES = 3  # drawings averaged for motion blur
SHADOW_AXES = 0.2, 0.06  # half, of the body's height
CORNERS = [  # parts that begin at the torso's corners
    PARTS.index(f'{side}_{limb}') for limb in ('upper_arm', 'thigh')
    for side in ('left', 'right')
]


class Projected(NamedTuple):
    """A person in a picture, at ``T`` times, in units of :func:`fixed`."""
    ends: np.ndarray  # of the parts, (T, parts, 2, 2)
    head: np.ndarray  # (T, 2)
    feet: np.ndarray  # where the shadow lies, (T, 2)
    depth: np.ndarray  # of the parts, towards the camera, (T, parts)
    scale: np.ndarray  # pixels a body height, (T, )


def render_clip(scene: Scene,
                rng: np.random.Generator,
                times: np.ndarray,
                size: Tuple[int, int],
                difficulty: float = 1.) -> np.ndarray:
    """Render a clip of a scene.

    Args:
        scene (Scene): Who moves, and how.
        rng (np.random.Generator): Source of the look.
        times (np.ndarray): Seconds of the frames, ``(T, )``.
        size (tuple[int, int]): Width and height of the frames.
        difficulty (float): See :func:`sample_look`. Defaults to 1.

    Returns:
        np.ndarray: RGB frames, uint8, ``(T, height, width, 3)``.
    """
    full = SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]
    look = sample_look(rng, scene, times, full, difficulty)
    if look.camera.follows:
        look = following(scene, look, times)
    exposures = [0.] if not look.exposure else np.linspace(
        0, look.exposure, EXPOSURES).tolist()
    shots = []
    for late in exposures:
        people = project(scene, look, times + late, times.mean())
        shots.append([
            paint(scene, look, people, t, size) for t in range(len(times))
        ])
    frames = np.mean(shots, axis=0, dtype=np.float32) if len(
        shots) > 1 else np.stack(shots[0]).astype(np.float32)
    frames *= look.gain[:, None, None, None].astype(np.float32)
    if look.noise > 1:
        frames += np.float32(look.noise) * rng.standard_normal(
            frames.shape, dtype=np.float32)
    frames = frames.clip(0, 255).astype(np.uint8)
    if look.quality:
        frames = np.stack([compress(frame, look.quality) for frame in frames])
    return frames


def compress(frame: np.ndarray, quality: int) -> np.ndarray:
    """Return what JPEG makes of a frame ``(height, width, 3)``."""
    _, data = cv2.imencode('.jpg', frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def project(scene: Scene, look: Look, times: np.ndarray,
            middle: float) -> List[Projected]:
    """Compute where all people are seen.

    Args:
        scene (Scene): Who moves, and how.
        look (Look): The look of the clip.
        times (np.ndarray): Seconds, ``(T, )``.
        middle (float): Seconds of the middle of the clip.
    """
    return [
        project_actor(actor, person, look, times - middle)
        for actor, person in zip(scene.actors, look.people)
    ]


def following(scene: Scene, look: Look, times: np.ndarray) -> Look:
    """Return the look with a camera that keeps the people in the middle."""
    people = project(scene, look, times, times.mean())
    place = np.mean([each.feet for each in people], axis=0)  # (T, 2)
    path = look.camera.path + (place.mean(0) - place) / UNIT
    return look._replace(camera=look.camera._replace(path=path))


def project_actor(actor: Actor, person: PersonLook, look: Look,
                  since_middle: np.ndarray) -> Projected:
    """Compute where a person is seen; see :func:`project`."""
    motion = actor.motion
    times = look.speed * since_middle + look.shift
    pose = pose_body(motion, times, look.amplitude, person.shape)
    points = np.concatenate(
        [pose.segments.reshape(len(times), -1, 3), pose.head[:, None]], 1)
    points = person.size * turn(points, motion.spin * since_middle)
    way = motion.velocity * since_middle[:, None]
    points[..., 0] += np.cos(motion.course) * way
    points[..., 2] += np.sin(motion.course) * way
    points = turn(points, np.full(len(times), actor.heading))
    points[..., 0] += actor.place
    feet = points[:, :1] * [1, 0, 1] + [0, GROUND, 0]
    points[..., 1] += motion.bounce * abs(
        np.sin(motion.bounces * motion.turn(times) / 2 +
               motion.bounce_phase))[:, None]
    pixels, depth, scale = to_pixels(
        np.concatenate([points, feet], 1), look.camera)
    pixels = fixed(pixels)
    ends = pixels[:, :-2].reshape(len(times), -1, 2, 2)
    return Projected(
        ends, pixels[:, -2], pixels[:, -1],
        depth[:, :-2].reshape(len(times), -1, 2).mean(-1),
        person.size * scale[:, 0])


def to_pixels(points: np.ndarray, camera: Camera
              ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project points ``(T, N, 3)`` in perspective.

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: Pixels ``(T, N, 2)``, depth
        towards the camera ``(T, N)``, and the scale of each point in pixels a
        body height, ``(T, N)``.
    """
    seen = turn(points, np.full(len(points), camera.yaw))
    cos, sin = np.cos(camera.pitch), np.sin(camera.pitch)
    x, y, z = np.moveaxis(seen, -1, 0)
    up, depth = y * cos - z * sin, z * cos + y * sin
    scale = camera.scale * camera.zoom[:, None] * camera.distance / np.maximum(
        camera.distance - depth, 1)
    right, top = camera.centre
    pixels = np.stack([right + scale * x, top - scale * up], -1)
    return pixels + camera.path[:, None], depth, scale


def paint(scene: Scene, look: Look, people: List[Projected], t: int,
          size: Tuple[int, int]) -> np.ndarray:
    """Paint frame ``t``, uint8, ``(height, width, 3)``."""
    image, camera = look.background.copy(), look.camera
    zoom = camera.zoom[t]
    if camera.path[t].any() or zoom != 1:
        shift = zoom * np.eye(2, 3)
        shift[:, 2] = camera.path[t] + (1 - zoom) * np.array(camera.centre)
        image = cv2.warpAffine(image, shift, image.shape[1::-1],
                               borderMode=cv2.BORDER_REFLECT)
    if look.shadow:
        image = with_shadows(image, look, people, t)
    depths = np.concatenate([each.depth[t] for each in people])
    for index in depths.argsort(kind='stable').tolist():
        person, part = divmod(index, len(PARTS))
        paint_part(image, look.people[person], people[person], part, t)
    if scene.prop:
        paint_prop(image, scene.prop, look, people, t)
    if look.occluder:
        x, y, right, bottom = look.occluder
        cv2.rectangle(image, (x, y), (right, bottom), look.occluder_color, -1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def with_shadows(image: np.ndarray, look: Look, people: List[Projected],
                 t: int) -> np.ndarray:
    """Return the image with a dark ellipse below each person."""
    dark = image.copy()
    for each in people:
        axes = [int(UNIT * each.scale[t] * axis) for axis in SHADOW_AXES]
        cv2.ellipse(dark, each.feet[t].tolist(), axes, 0, 0, 360, (0, 0, 0),
                    -1, cv2.LINE_AA, SUBPIXEL)
    return cv2.addWeighted(image, 1 - look.shadow, dark, look.shadow, 0)


def paint_part(image: np.ndarray, look: PersonLook, seen: Projected,
               part: int, t: int) -> None:
    """Paint a part of a person; the torso with the head."""
    kind, scale = KINDS[part], seen.scale[t]
    width = max(1, int(look.widths[kind] * scale))
    start, end = seen.ends[t, part].tolist()
    if kind == 'torso':
        corners = cv2.convexHull(seen.ends[t, CORNERS, 0])
        cv2.fillConvexPoly(image, corners, look.colors[kind], cv2.LINE_AA,
                           SUBPIXEL)
    cv2.line(image, start, end, look.colors[kind], width, cv2.LINE_AA,
             SUBPIXEL)
    if kind == 'torso':
        radius = UNIT * look.shape.head * scale
        (x, y), (neck_x, neck_y) = seen.head[t].tolist(), end
        up = 0.5 * radius / max(1., np.hypot(x - neck_x, y - neck_y))
        crown = int(x + up * (x - neck_x)), int(y + up * (y - neck_y))
        for centre, color in ((crown, 'hair'), ((x, y), 'head')):
            cv2.circle(image, centre, int(radius), look.colors[color], -1,
                       cv2.LINE_AA, SUBPIXEL)


def paint_prop(image: np.ndarray, prop: Prop, look: Look,
               people: List[Projected], t: int) -> None:
    """Paint the thing that is held, or on its way to the other hand."""
    arms = [
        people[actor].ends[:, PARTS.index(f'{side}_lower_arm')]
        for actor, side in prop.hands
    ]
    # on its way in the middle third of the clip
    share = np.clip(3 * t / max(1, len(arms[0]) - 1) - 1, 0, 1)
    place = (1 - share) * arms[0][t, 1] + share * arms[1][t, 1]
    size = UNIT * PROP_SIZE * people[prop.hands[0][0]].scale[t]
    low, centre, high = np.rint(
        [place - size, place, place + size]).astype(int).tolist()
    if prop.kind == 'ball':
        cv2.circle(image, centre, int(size), look.prop_color, -1,
                   cv2.LINE_AA, SUBPIXEL)
    elif prop.kind == 'box':
        cv2.rectangle(image, low, high, look.prop_color, -1, cv2.LINE_AA,
                      SUBPIXEL)
    else:
        along = np.diff(arms[0][t], axis=0)[0]
        along = 4 * size * along / max(1., np.linalg.norm(along))
        start, end = np.rint([place - along, place + along]).astype(
            int).tolist()
        cv2.line(image, start, end, look.prop_color,
                 max(1, int(size / 2 / UNIT)), cv2.LINE_AA, SUBPIXEL)


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as OpenCV's fixed-point coordinates, int32."""
    return np.rint(np.clip(UNIT * pixels, -FAR, FAR)).astype(np.int32)
