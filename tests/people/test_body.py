# Copyright (c) The mmlcr authors. All rights reserved.
"""Bodies keep their limbs, and joints follow their program."""
from typing import Dict

import numpy as np
import pytest

from mmlcr.people import (
    MotionProgram,
    Oscillation,
    Shape,
    pose_body,
    sample_motion,
)
from mmlcr.people.body import PARTS, turn

TIMES = 0.12 * np.arange(8)
WAVE = Oscillation(0.2, 0.5, 0., 1)


def motion(seed: int) -> MotionProgram:
    return sample_motion(np.random.default_rng(seed))


def moving(joints: Dict[str, Oscillation], **changes: float) -> MotionProgram:
    return MotionProgram(1., joints, **changes)


def flexion(program: MotionProgram, time: float) -> float:
    """Return the angle of the left thigh in the plane of walking."""
    pose = pose_body(program, np.array([time]))
    hip, knee = pose.segments[0, PARTS.index('left_thigh')]
    x, y, z = knee - hip
    assert z == 0
    return float(np.arctan2(x, -y))


@pytest.mark.parametrize('seed', range(20))
def test_limbs_keep_their_lengths(seed: int) -> None:
    shape = Shape(torso=0.33, thigh=0.2, foot=0.1)
    pose = pose_body(motion(seed), TIMES, amplitude=1.2, shape=shape)
    lengths = np.linalg.norm(
        pose.segments[:, :, 1] - pose.segments[:, :, 0], axis=-1)
    limbs = [shape.upper_arm, shape.lower_arm, shape.thigh, shape.shank,
             shape.foot]
    expected = np.tile([shape.torso, *limbs, *limbs], (8, 1))
    np.testing.assert_allclose(lengths, expected, rtol=1e-12)


def test_a_body_at_rest_stands_upright() -> None:
    pose = pose_body(moving({}), TIMES[:1])
    ends = dict(zip(PARTS, pose.segments[0, :, 1]))
    assert pose.head[0, 1] > ends['torso'][1] > 0
    for side, sign in (('left', 1), ('right', -1)):
        np.testing.assert_allclose(
            ends[f'{side}_shank'], [0, -0.48, sign * 0.06])
        np.testing.assert_allclose(
            ends[f'{side}_foot'], [0.07, -0.48, sign * 0.06], atol=1e-12)
        assert sign * ends[f'{side}_lower_arm'][2] > 0.1


def test_a_joint_oscillates_about_its_offset() -> None:
    program = moving(dict(left_hip_flexion=WAVE))
    for time, angle in ((0, 0.2), (0.25, 0.7), (0.5, 0.2), (0.75, -0.3)):
        assert flexion(program, time) == pytest.approx(angle)


@pytest.mark.parametrize('cycles, last', [(0.5, 0.2), (0.25, 0.7)])
def test_a_motion_is_over_once(cycles: float, last: float) -> None:
    program = moving(
        dict(left_hip_flexion=WAVE), cycles=cycles, delay=0.1)
    assert program.duration == pytest.approx(cycles + 0.1)
    for time, angle in ((-3, 0.2), (0.1, 0.2), (0.1 + cycles, last),
                        (9, last)):
        assert flexion(program, time) == pytest.approx(angle)
    assert moving({}).duration == np.inf


def test_knees_do_not_bend_forward() -> None:
    bent = moving(dict(right_knee=Oscillation(0., 1., 0., 1)))
    pose = pose_body(bent, TIMES)
    hip = pose.segments[:, PARTS.index('right_thigh'), 0]
    ankle = pose.segments[:, PARTS.index('right_shank'), 1]
    assert (ankle[:, 0] <= hip[:, 0] + 1e-12).all()
    assert ankle[:, 0].min() < -0.1


def test_a_turn_shows_the_other_side() -> None:
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    turned = turn(points, np.array([0., np.pi]))
    np.testing.assert_array_equal(turned[0], points[0])
    np.testing.assert_allclose(
        turned[1], points[1] * [-1, 1, -1], atol=1e-12)
