# Copyright (c) The mmlcr authors. All rights reserved.
"""Bodies keep their limbs, programs move, and a clip follows its generator."""
import numpy as np
import pytest

from mmlcr.people import (
    MotionProgram,
    Oscillation,
    draw_program,
    pose_body,
    render_clip,
)
from mmlcr.people.body import (
    LOWER_ARM,
    PARTS,
    SHANK,
    THIGH,
    TORSO,
    UPPER_ARM,
    turn,
)

STILL = MotionProgram(1., 0., 0., 0., 0., {})
TIMES = 0.12 * np.arange(8)
SIZE = 80, 64
LENGTHS = [TORSO] + 2 * [UPPER_ARM, LOWER_ARM, THIGH, SHANK]


def program(seed: int) -> MotionProgram:
    return draw_program(np.random.default_rng(seed))


@pytest.mark.parametrize('seed', range(20))
def test_limbs_keep_their_lengths(seed: int) -> None:
    for time in TIMES:
        pose = pose_body(program(seed), time, phase=seed, amplitude=1.2)
        lengths = np.linalg.norm(
            pose.segments[:, 1] - pose.segments[:, 0], axis=1)
        np.testing.assert_allclose(lengths, LENGTHS, rtol=1e-12)


def test_a_body_at_rest_stands_upright() -> None:
    pose = pose_body(STILL, 0.3)
    assert len(pose.segments) == len(PARTS)
    ends = dict(zip(PARTS, pose.segments[:, 1]))
    assert pose.head[1] > ends['torso'][1] > 0
    for side, sign in (('left', 1), ('right', -1)):
        np.testing.assert_allclose(
            ends[f'{side}_shank'], [0, -THIGH - SHANK, sign * 0.06])
        assert sign * ends[f'{side}_lower_arm'][2] > 0.1


def test_a_joint_oscillates_about_its_offset() -> None:
    moving = STILL._replace(
        joints=dict(left_hip_flexion=Oscillation(0.2, 0.5, 0., 1)))
    for time, angle in ((0, 0.2), (0.25, 0.7), (0.5, 0.2), (0.75, -0.3)):
        hip, knee = pose_body(moving, time).segments[
            PARTS.index('left_thigh')]
        x, y, z = (knee - hip) / THIGH
        assert np.arctan2(x, -y) == pytest.approx(angle) and z == 0


def test_knees_do_not_bend_forward() -> None:
    bent = STILL._replace(joints=dict(right_knee=Oscillation(0., 1., 0., 1)))
    for time in TIMES:
        hip, foot = pose_body(bent, time).segments[[
            PARTS.index('right_thigh'), PARTS.index('right_shank')], [0, 1]]
        assert foot[0] <= hip[0] + 1e-12


def test_a_turn_shows_the_other_side() -> None:
    points = np.random.default_rng(0).normal(size=(5, 3))
    front, depth = turn(points, 0.)
    back, behind = turn(points, np.pi)
    np.testing.assert_allclose(front * [-1, 1], back, atol=1e-12)
    np.testing.assert_allclose(depth, -behind, atol=1e-12)


@pytest.mark.parametrize('seed', range(20))
def test_every_program_moves(seed: int) -> None:
    """Beyond the noise of the camera: by more than its own repetition."""
    drawn = program(seed)
    frames = render_clip(drawn, np.random.default_rng(seed), TIMES, SIZE)
    same = render_clip(drawn, np.random.default_rng(seed), 0 * TIMES, SIZE)
    assert frames.shape == (8, 64, 80, 3) and frames.dtype == np.uint8
    changes = [np.abs(np.diff(clip.astype(float), axis=0)).mean()
               for clip in (frames, same)]
    assert changes[0] > 1.02 * changes[1]


def test_a_clip_follows_its_generator() -> None:
    drawn = [render_clip(program(3), np.random.default_rng(seed), TIMES, SIZE)
             for seed in (5, 5, 6)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_programs_are_distinct() -> None:
    found = {repr(draw_program(np.random.default_rng([seed, label])))
             for seed in (0, 1) for label in range(50)}
    assert len(found) == 100
