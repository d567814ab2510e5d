# Copyright (c) The mmlcr authors. All rights reserved.
"""Scenes move, differ, and hold the people and things they should."""
from typing import List, Optional

import numpy as np
import pytest

from mmlcr.people import (
    MotionProgram,
    Oscillation,
    Scene,
    sample_motion,
    sample_scene,
)
from mmlcr.people.programs import COURSES, both_sides

COUNT = 400


def scene(*seed: int, **options: float) -> Scene:
    return sample_scene(np.random.default_rng(seed), **options)


def test_scenes_are_distinct() -> None:
    found = {repr(scene(seed, label)) for seed in (0, 1)
             for label in range(50)}
    assert len(found) == 100
    assert repr(scene(0, 3)) in found


@pytest.mark.parametrize('pairs', [0., 0.3, 1.])
def test_the_share_of_pairs_is_kept(pairs: float) -> None:
    found = np.mean([len(scene(label, pairs=pairs).actors) == 2
                     for label in range(COUNT)])
    assert abs(found - pairs) < 0.08
    assert found == pairs or 0 < pairs < 1


def test_a_pair_moves_face_to_face_in_one_rhythm() -> None:
    for label in range(20):
        first, second = scene(label, pairs=1.).actors
        assert first.motion.frequency == second.motion.frequency
        assert first.motion.cycles == second.motion.cycles
        assert (first.heading, second.heading) == (0, np.pi)
        assert 0.3 <= second.place - first.place <= 1.1


def test_things_are_held_by_people_of_the_scene() -> None:
    passed = 0
    for label in range(COUNT):
        drawn = scene(label, pairs=0.5, props=1.)
        assert drawn.prop is not None
        (giver, hand), (taker, other) = drawn.prop.hands
        assert {giver, taker} <= {*range(len(drawn.actors))}
        assert giver != taker or hand == other
        passed += giver != taker
    assert COUNT / 8 < passed < COUNT / 2
    assert scene(0, props=0.).prop is None


def walkers() -> List[MotionProgram]:
    motions = [sample_motion(np.random.default_rng(seed))
               for seed in range(COUNT)]
    return [motion for motion in motions if motion.velocity]


def both(motion: MotionProgram, joint: str) -> List[Oscillation]:
    """Return a joint of the left and the right side, where it is set."""
    names = [f'{side}_{joint}' for side in ('left', 'right')]
    return [motion.joints[name] for name in names if name in motion.joints]


def test_who_advances_moves_the_legs() -> None:
    found = walkers()
    assert 0.35 < len(found) / COUNT < 0.55
    for motion in found:
        assert 0.25 <= motion.velocity / motion.frequency <= 1
        assert motion.cycles == np.inf and not motion.spin
        hips, knees = both(motion, 'hip_flexion'), both(motion, 'knee')
        assert hips[0].amplitude and knees[0].amplitude
        assert len(hips) == len(knees) == 2
        hops = not hips[1].amplitude
        assert hops == (not knees[1].amplitude)
        assert not hops or knees[1].offset >= 0.5  # held up
        steps = not hops and np.isclose(
            np.cos(hips[0].phase - hips[1].phase), -1)
        forward = np.isclose(np.sin(motion.course), 0)
        assert (motion.bounces == 2) == (steps and forward)


def test_gaits_go_to_all_sides() -> None:
    courses = np.array([motion.course for motion in walkers()])
    for course, share in COURSES.items():
        assert abs(np.mean(courses == course) - share) < 0.1
    for motion in walkers():
        if np.isclose(abs(np.sin(motion.course)), 1):
            left, right = both(motion, 'hip_abduction')
            assert left == right and left.amplitude  # open and close
            assert left.offset >= 0.7 * left.amplitude


@pytest.mark.parametrize('sides, left, right', [
    ('in phase', 1., 1.), ('antiphase', 1., 1 + np.pi), ('left', 1., None),
    ('right', None, 1.)])
def test_a_joint_has_its_sides(sides: str, left: Optional[float],
                               right: Optional[float]) -> None:
    found = both_sides(('l', 'r'), Oscillation(0., 1., 1., 1), sides)
    phases = tuple(found[side].phase if side in found else None
                   for side in 'lr')
    assert phases == (left, right)
