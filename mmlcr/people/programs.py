# Copyright (c) The mmlcr authors. All rights reserved.
"""Motion programs: which joints move, how far, how fast and in which phase.

A program is a class of the rendered set. Everything else about a clip (body,
clothes, ground, place, speed, phase and view) is drawn anew.
"""
from typing import Dict, NamedTuple, Tuple

import numpy as np

# largest amplitude of each joint in radians; left joints name their pair
PAIRS: Dict[Tuple[str, str], float] = {
    ('left_shoulder_flexion', 'right_shoulder_flexion'): 1.3,
    ('left_shoulder_abduction', 'right_shoulder_abduction'): 1.2,
    ('left_elbow', 'right_elbow'): 1.,
    ('left_hip_flexion', 'right_hip_flexion'): 0.7,
    ('left_hip_abduction', 'right_hip_abduction'): 0.4,
    ('left_knee', 'right_knee'): 0.8,
}
TRUNK: Dict[str, float] = {'lean': 0.5, 'tilt': 0.25}
MOVING_PAIR, MOVING_TRUNK = 0.55, 0.3  # probabilities


class Oscillation(NamedTuple):
    """The angle of a joint: ``offset + amplitude * sin(...)``, in radians."""
    offset: float
    amplitude: float
    phase: float
    harmonic: int  # of the program's frequency


class MotionProgram(NamedTuple):
    """A periodic motion of the whole body."""
    frequency: float  # Hz
    yaw: float  # radians, from which the body is seen
    velocity: float  # body heights in two seconds, along the direction of view
    bounce: float  # height of the hips' bounce, of the body's height
    bounce_phase: float
    joints: Dict[str, Oscillation]


def draw_program(rng: np.random.Generator) -> MotionProgram:
    """Draw a program in which at least a joint or the place moves."""
    frequency = rng.uniform(0.6, 2.2)
    yaw = rng.uniform(0, 2 * np.pi)
    velocity = rng.choice([0, 0, 1, -1]) * rng.uniform(0.3, 1.6)
    bounce = rng.choice([0, 0, 1]) * rng.uniform(0.03, 0.15)
    bounce_phase = rng.uniform(0, 2 * np.pi)
    joints: Dict[str, Oscillation] = {}
    for (left, right), limit in PAIRS.items():
        if rng.random() >= MOVING_PAIR:
            continue
        amplitude = limit * rng.uniform(0.3, 1)
        phase = rng.uniform(0, 2 * np.pi)
        harmonic = int(rng.choice([1, 1, 1, 2]))
        sides = rng.choice(['in phase', 'antiphase', 'left', 'right'])
        offset = rng.uniform(0, amplitude)
        if sides != 'right':
            joints[left] = Oscillation(offset, amplitude, phase, harmonic)
        if sides != 'left':
            if sides == 'antiphase':
                phase += np.pi
            joints[right] = Oscillation(offset, amplitude, phase, harmonic)
    for joint, limit in TRUNK.items():
        if rng.random() < MOVING_TRUNK:
            joints[joint] = Oscillation(
                rng.uniform(-0.3, 0.6) * limit,
                limit * rng.uniform(0.3, 1), rng.uniform(0, 2 * np.pi), 1)
    if not joints and not velocity:
        return draw_program(rng)
    return MotionProgram(frequency, yaw, float(velocity), float(bounce),
                         bounce_phase, joints)
