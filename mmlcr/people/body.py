# Copyright (c) The mmlcr authors. All rights reserved.
"""A 3-D stick body of fourteen joint angles.

Lengths are fractions of the body's height. ``x`` points forward, ``y`` up and
``z`` to the body's left.
"""
from typing import Dict, NamedTuple

import numpy as np

from .programs import PAIRS, TRUNK, MotionProgram

REST_ABDUCTION = 0.1  # of the arms, radians
SIDES = (('left', 1), ('right', -1))
PARTS = ('torso', ) + tuple(
    f'{side}_{part}' for side, _ in SIDES
    for part in ('upper_arm', 'lower_arm', 'thigh', 'shank', 'foot'))


class Shape(NamedTuple):
    """Lengths of a body, of its height."""
    torso: float = 0.30
    neck: float = 0.11  # from the shoulders to the head's centre
    upper_arm: float = 0.16
    lower_arm: float = 0.16
    thigh: float = 0.24
    shank: float = 0.24
    foot: float = 0.07
    shoulder: float = 0.10  # half width
    hip: float = 0.06  # half width
    head: float = 0.06  # radius


ADULT = Shape()


class Pose(NamedTuple):
    """A body at ``T`` times."""
    segments: np.ndarray  # ends of each of PARTS, (T, parts, 2, 3)
    head: np.ndarray  # its centre, (T, 3)


def pose_body(program: MotionProgram,
              times: np.ndarray,
              amplitude: float = 1.,
              shape: Shape = ADULT) -> Pose:
    """Compute the poses of a program.

    Args:
        program (MotionProgram): The program.
        times (np.ndarray): Seconds, ``(T, )``.
        amplitude (float): Factor of all amplitudes. Defaults to 1.
        shape (Shape): Lengths of the body. Defaults to ``ADULT``.

    Returns:
        Pose: The hips' centre is the origin.
    """
    angles = joint_angles(program, times, amplitude)
    lean, tilt = angles['lean'], angles['tilt']
    hips = np.zeros((len(times), 3))
    up = np.stack([np.sin(lean), np.cos(lean) * np.cos(tilt),
                   np.cos(lean) * np.sin(tilt)], -1)
    neck = hips + shape.torso * up
    segments = [(hips, neck)]
    for side, sign in SIDES:
        flexion = angles[f'{side}_shoulder_flexion'] + lean / 2
        abduction = angles[f'{side}_shoulder_abduction'] + REST_ABDUCTION
        shoulder = neck + np.array([0, -0.02, sign * shape.shoulder])
        elbow = shoulder + shape.upper_arm * direction(
            flexion, abduction, sign)
        hand = elbow + shape.lower_arm * direction(
            flexion + angles[f'{side}_elbow'], abduction, sign)
        flexion = angles[f'{side}_hip_flexion']
        abduction = angles[f'{side}_hip_abduction']
        hip = hips + np.array([0, 0, sign * shape.hip])
        knee = hip + shape.thigh * direction(flexion, abduction, sign)
        flexion = flexion - np.maximum(0, angles[f'{side}_knee'])
        ankle = knee + shape.shank * direction(flexion, abduction, sign)
        toes = ankle + shape.foot * direction(
            flexion + np.pi / 2, 0 * abduction, sign)
        segments += [(shoulder, elbow), (elbow, hand), (hip, knee),
                     (knee, ankle), (ankle, toes)]
    ends = np.stack([np.stack(pair, 1) for pair in segments], 1)
    return Pose(ends, neck + shape.neck * up)


def joint_angles(program: MotionProgram, times: np.ndarray,
                 amplitude: float) -> Dict[str, np.ndarray]:
    """Return the angle of every joint in radians, each ``(T, )``."""
    names = [name for pair in PAIRS for name in pair] + [*TRUNK]
    angles = dict.fromkeys(names, np.zeros(len(times)))
    turn = program.turn(times)
    for name, joint in program.joints.items():
        angles[name] = joint.offset + amplitude * joint.amplitude * np.sin(
            joint.harmonic * turn + joint.phase)
    return angles


def direction(flexion: np.ndarray, abduction: np.ndarray,
              sign: int) -> np.ndarray:
    """Return unit vectors ``(T, 3)`` of a limb that hangs at zero angles."""
    return np.stack([
        np.sin(flexion) * np.cos(abduction),
        -np.cos(flexion) * np.cos(abduction), sign * np.sin(abduction)
    ], -1)


def turn(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Turn points ``(T, ..., 3)`` about the vertical axis by ``yaw`` (T, )."""
    yaw = yaw.reshape(-1, *(1, ) * (points.ndim - 2))
    x, y, z = np.moveaxis(points, -1, 0)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([x * cos + z * sin, y + 0 * x, z * cos - x * sin], -1)
