# Copyright (c) The mmlcr authors. All rights reserved.
"""A 3-D stick body of fourteen joint angles.

Lengths are fractions of the body's height. ``x`` points forward, ``y`` up and
``z`` to the body's left.
"""
from typing import Dict, NamedTuple, Tuple

import numpy as np

from .programs import PAIRS, TRUNK, MotionProgram

TORSO, NECK = 0.30, 0.11
UPPER_ARM = LOWER_ARM = 0.16
THIGH = SHANK = 0.24
SHOULDER, HIP = 0.10, 0.06  # half widths
REST_ABDUCTION = 0.1  # of the arms, radians
PARTS = ('torso', 'left_upper_arm', 'left_lower_arm', 'left_thigh',
         'left_shank', 'right_upper_arm', 'right_lower_arm', 'right_thigh',
         'right_shank')


class Pose(NamedTuple):
    """A body at a moment."""
    segments: np.ndarray  # ends of each of PARTS, (9, 2, 3)
    head: np.ndarray  # its centre, (3, )


def pose_body(program: MotionProgram,
              time: float,
              phase: float = 0.,
              amplitude: float = 1.) -> Pose:
    """Compute the pose of a program at a time.

    Args:
        program (MotionProgram): The program.
        time (float): Seconds.
        phase (float): Radians, added to all oscillations. Defaults to 0.
        amplitude (float): Factor of all amplitudes. Defaults to 1.

    Returns:
        Pose: The hips' centre is the origin.
    """
    angles = joint_angles(program, time, phase, amplitude)
    lean, tilt = angles['lean'], angles['tilt']
    hips = np.zeros(3)
    neck = hips + TORSO * np.array(
        [np.sin(lean), np.cos(lean) * np.cos(tilt),
         np.cos(lean) * np.sin(tilt)])
    head = neck + NECK / TORSO * (neck - hips)
    segments = [(hips, neck)]
    for side, sign in (('left', 1), ('right', -1)):
        flexion = angles[f'{side}_shoulder_flexion'] + lean / 2
        abduction = angles[f'{side}_shoulder_abduction'] + REST_ABDUCTION
        shoulder = neck + np.array([0, -0.02, sign * SHOULDER])
        elbow = shoulder + UPPER_ARM * direction(flexion, abduction, sign)
        hand = elbow + LOWER_ARM * direction(
            flexion + angles[f'{side}_elbow'], abduction, sign)
        flexion = angles[f'{side}_hip_flexion']
        abduction = angles[f'{side}_hip_abduction']
        hip = hips + np.array([0, 0, sign * HIP])
        knee = hip + THIGH * direction(flexion, abduction, sign)
        foot = knee + SHANK * direction(
            flexion - max(0., angles[f'{side}_knee']), abduction, sign)
        segments += [(shoulder, elbow), (elbow, hand), (hip, knee),
                     (knee, foot)]
    return Pose(np.array(segments), head)


def joint_angles(program: MotionProgram, time: float, phase: float,
                 amplitude: float) -> Dict[str, float]:
    """Return the angle of every joint in radians."""
    names = [name for pair in PAIRS for name in pair] + [*TRUNK]
    angles = dict.fromkeys(names, 0.)
    for name, joint in program.joints.items():
        turn = 2 * np.pi * program.frequency * time + phase
        angles[name] = joint.offset + amplitude * joint.amplitude * np.sin(
            joint.harmonic * turn + joint.phase)
    return angles


def direction(flexion: float, abduction: float, sign: int) -> np.ndarray:
    """Return the unit vector of a limb that hangs down at zero angles."""
    return np.array([
        np.sin(flexion) * np.cos(abduction),
        -np.cos(flexion) * np.cos(abduction), sign * np.sin(abduction)
    ])


def turn(points: np.ndarray, yaw: float) -> Tuple[np.ndarray, np.ndarray]:
    """Project points ``(..., 3)`` orthographically after a turn.

    Returns:
        tuple[np.ndarray, np.ndarray]: Right and up, ``(..., 2)``, and depth
        towards the viewer, ``(...)``.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([x * cos + z * sin, y], -1), z * cos - x * sin
