# Copyright (c) The mmlcr authors. All rights reserved.
"""Motion programs: which joints move, how far, how fast and in which phase.

A scene of one or two people with their programs is a class of the rendered
set. Everything else about a clip (bodies, clothes, ground, place, speed,
phase, camera, light) is sampled anew; see :mod:`mmlcr.people.look`.
"""
from typing import Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

Array = Union[float, np.ndarray]

ARMS = 'left_shoulder_flexion', 'right_shoulder_flexion'
SPREAD_ARMS = 'left_shoulder_abduction', 'right_shoulder_abduction'
HIPS = 'left_hip_flexion', 'right_hip_flexion'
SPREAD = 'left_hip_abduction', 'right_hip_abduction'
KNEES = 'left_knee', 'right_knee'
# largest amplitude of each joint in radians
PAIRS: Dict[Tuple[str, str], float] = {
    ARMS: 1.3,
    SPREAD_ARMS: 1.2,
    ('left_elbow', 'right_elbow'): 1.,
    HIPS: 0.7,
    SPREAD: 0.4,
    KNEES: 0.8,
}
TRUNK: Dict[str, float] = {'lean': 0.5, 'tilt': 0.25}
# probabilities
MOVING_PAIR, MOVING_TRUNK, POSED_PAIR = 0.55, 0.3, 0.15
ONCE, SPINNING, WALKING = 0.3, 0.1, 0.45
# of those who walk: with arms that swing, across the picture, and where to
SWINGING, ACROSS = 0.5, 0.6
COURSES = {0.: 0.6, np.pi: 0.12, np.pi / 2: 0.14, -np.pi / 2: 0.14}
SIDES = ('in phase', 'antiphase', 'left', 'right')
PROPS = ('ball', 'stick', 'box')


class Oscillation(NamedTuple):
    """The angle of a joint: ``offset + amplitude * sin(...)``, in radians."""
    offset: float
    amplitude: float
    phase: float
    harmonic: int  # of the program's frequency


class MotionProgram(NamedTuple):
    """A motion of a whole body, periodic or over once."""
    frequency: float  # Hz
    joints: Dict[str, Oscillation]
    cycles: float = np.inf  # after which the joints hold
    delay: float = 0.  # seconds, until which the joints hold
    velocity: float = 0.  # in body heights a second
    course: float = 0.  # of the velocity, radians from forward to the left
    spin: float = 0.  # about the vertical axis, in radians a second
    bounce: float = 0.  # height of the hips' bounce, of the body's height
    bounces: int = 1  # of a cycle
    bounce_phase: float = 0.  # radians

    @property
    def duration(self) -> float:
        """Seconds until the joints hold, infinite if they never do."""
        return self.delay + self.cycles / self.frequency

    def turn(self, time: Array) -> Array:
        """Return the angle of the cycle in radians at a time in seconds."""
        cycles = self.frequency * (time - self.delay)
        if np.isfinite(self.cycles):
            cycles = np.clip(cycles, 0, self.cycles)
        return 2 * np.pi * cycles


class Actor(NamedTuple):
    """A person of a scene."""
    motion: MotionProgram
    place: float  # along the scene's axis, in body heights
    heading: float  # radians to the scene's axis


class Prop(NamedTuple):
    """A thing in a hand, passed on to another one while the joints move."""
    kind: str  # of PROPS
    hands: Tuple[Tuple[int, str], Tuple[int, str]]  # actor and side


class Scene(NamedTuple):
    """A class of the rendered set."""
    yaw: float  # radians, from which the scene is seen
    actors: Tuple[Actor, ...]
    prop: Optional[Prop] = None


def sample_scene(rng: np.random.Generator,
                 pairs: float = 0.3,
                 props: float = 0.2) -> Scene:
    """Sample a scene.

    Two people of a scene stand face to face, move at one frequency, and the
    second one may react late.

    Args:
        rng (np.random.Generator): Source of randomness.
        pairs (float): Probability of two people. Defaults to 0.3.
        props (float): Probability of a thing in a hand. Defaults to 0.2.

    Returns:
        Scene: The scene.
    """
    yaw, motion = rng.uniform(0, 2 * np.pi), sample_motion(rng)
    if motion.velocity and rng.random() < ACROSS:
        yaw = motion.course + rng.choice([0, np.pi]) + rng.normal(0, 0.3)
    actors = [Actor(motion, 0., 0.)]
    if rng.random() < pairs:
        yaw = rng.choice([0, np.pi]) + rng.normal(0, 0.5)
        distance = rng.uniform(0.3, 1.1)
        other = sample_motion(rng)._replace(
            frequency=motion.frequency, cycles=motion.cycles,
            delay=rng.choice([0, 1]) * rng.uniform(0, 0.5) / motion.frequency)
        actors = [
            Actor(each._replace(velocity=each.velocity / 2), place, heading)
            for each, place, heading in ((motion, -distance / 2, 0.),
                                         (other, distance / 2, np.pi))
        ]
    prop = None
    if rng.random() < props:
        giver, taker = (int(rng.integers(len(actors))) for _ in range(2))
        kind = str(rng.choice(PROPS))
        first, second = (str(rng.choice(['left', 'right'])) for _ in range(2))
        prop = Prop(kind, ((giver, first),
                           (taker, first if giver == taker else second)))
    return Scene(float(yaw), tuple(actors), prop)


def sample_motion(rng: np.random.Generator) -> MotionProgram:
    """Sample a program in which at least a joint or the place moves."""
    joints: Dict[str, Oscillation] = {}
    for pair, limit in PAIRS.items():
        draw = rng.random()
        if draw >= MOVING_PAIR + POSED_PAIR:
            continue
        amplitude = limit * rng.uniform(0.3, 1)
        joint = Oscillation(
            rng.uniform(0, amplitude), amplitude, rng.uniform(0, 2 * np.pi),
            int(rng.choice([1, 1, 1, 2])))
        if draw >= MOVING_PAIR:
            joint = held(joint.offset)
        joints.update(both_sides(pair, joint, str(rng.choice(SIDES))))
    for name, limit in TRUNK.items():
        if rng.random() < MOVING_TRUNK:
            joints[name] = Oscillation(
                rng.uniform(-0.3, 0.6) * limit, limit * rng.uniform(0.3, 1),
                rng.uniform(0, 2 * np.pi), 1)
    program = MotionProgram(
        rng.uniform(0.6, 2.2),
        joints,
        spin=rng.choice([-1, 1]) * rng.uniform(1, 4) *
        (rng.random() < SPINNING),
        bounce=float(rng.choice([0, 0, 1]) * rng.uniform(0.03, 0.15)),
        bounce_phase=rng.uniform(0, 2 * np.pi))
    if rng.random() < WALKING:
        return with_gait(program, rng)
    if not any(joint.amplitude for joint in joints.values()):
        return sample_motion(rng)
    if rng.random() < ONCE:
        program = program._replace(cycles=rng.choice([0.5, 1.]))
    return program


def with_gait(program: MotionProgram,
              rng: np.random.Generator) -> MotionProgram:
    """Return the program of somebody who walks, runs, hops or slides.

    The body advances by a stride in each cycle: forward, backward or to a
    side. Knees follow the hips, mostly with arms that swing. Who goes to a
    side opens and closes the legs as well, and who hops holds one leg up.
    """
    course = float(rng.choice([*COURSES], p=[*COURSES.values()]))
    sidewards = abs(course) == np.pi / 2
    sides = str(rng.choice(['antiphase', 'antiphase', 'antiphase',
                            'in phase', 'left']))
    stride, phase = rng.uniform(0.25, 1.), rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(0.05, 0.3) if sidewards else rng.uniform(0.15, 0.7)
    hip = Oscillation(rng.uniform(-0.1, 0.3), swing, phase, 1)
    bend = rng.uniform(0.1, 0.9)
    knee = Oscillation(rng.uniform(0, bend), bend,
                       phase + rng.normal(np.pi / 2, 0.7), 1)
    joints = {
        **program.joints,
        **both_sides(HIPS, hip, sides),
        **both_sides(KNEES, knee, sides),
    }
    if sides == 'left':
        joints.update(right_hip_flexion=held(rng.uniform(-0.2, 0.7)),
                      right_knee=held(rng.uniform(0.5, 1.6)))
    if sidewards:
        opening = rng.uniform(0.1, 0.35)
        spread = Oscillation(opening * rng.uniform(0.7, 1.2), opening,
                             rng.uniform(0, 2 * np.pi), 1)
        joints.update(both_sides(SPREAD, spread, 'in phase'))
    if rng.random() < SWINGING:
        arm = Oscillation(0., rng.uniform(0.1, 0.8), phase + np.pi, 1)
        joints.update(both_sides(
            SPREAD_ARMS if sidewards and rng.random() < 0.5 else ARMS, arm,
            'in phase' if sides == 'in phase' else 'antiphase'))
    steps = sides == 'antiphase' and not sidewards
    return program._replace(
        joints=joints,
        velocity=stride * program.frequency,
        course=course,
        spin=0.,
        bounce=rng.uniform(0.01, 0.05 if steps else 0.2),
        bounces=2 if steps else 1)


def held(angle: float) -> Oscillation:
    """Return a joint that stays at an angle in radians."""
    return Oscillation(angle, 0., 0., 1)


def both_sides(pair: Tuple[str, str], joint: Oscillation,
               sides: str) -> Dict[str, Oscillation]:
    """Return the joints of a pair that oscillate, one of them maybe late."""
    late = np.pi if sides == 'antiphase' else 0.
    found = dict(zip(pair, (joint, joint._replace(phase=joint.phase + late))))
    if sides in ('left', 'right'):
        del found[pair[sides == 'left']]
    return found
