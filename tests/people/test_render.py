# Copyright (c) The mmlcr authors. All rights reserved.
"""A clip shows its scene, and follows its generator."""
from typing import Any

import cv2
import numpy as np
import pytest

from mmlcr.people import (
    Actor,
    MotionProgram,
    Prop,
    Scene,
    render,
    render_clip,
    sample_look,
    sample_scene,
)
from mmlcr.people.look import Look
from mmlcr.people.render import UNIT, following, paint, project

TIMES = 0.12 * np.arange(8)
SIZE = 80, 64
STILL = Scene(0., (Actor(MotionProgram(1., {}), 0., 0.), ))
WALK = Scene(0., (Actor(MotionProgram(1., {}, velocity=0.8), 0., 0.), ))


def look_of(scene: Scene, seed: int = 0, **changes: Any) -> Look:
    """Return a look without what hides or moves the people."""
    look = sample_look(np.random.default_rng(seed), scene, TIMES,
                       (2 * SIZE[0], 2 * SIZE[1]))
    camera = look.camera._replace(
        yaw=scene.yaw, path=np.zeros((8, 2)), zoom=np.ones(8), follows=False)
    return look._replace(
        camera=camera, occluder=None, shadow=0., exposure=0., **changes)


@pytest.mark.parametrize('seed', range(20))
def test_every_scene_moves(seed: int) -> None:
    """By more than the noise of the camera."""
    scene = sample_scene(np.random.default_rng(seed))
    clips = [render_clip(scene, np.random.default_rng(seed), times, SIZE)
             for times in (TIMES, 0 * TIMES)]
    assert clips[0].shape == (8, 64, 80, 3) and clips[0].dtype == np.uint8
    moving, same = (np.abs(np.diff(clip.astype(float), axis=0)).mean()
                    for clip in clips)
    assert moving > 1.02 * same


def test_a_clip_follows_its_generator() -> None:
    scene = sample_scene(np.random.default_rng(3))
    drawn = [render_clip(scene, np.random.default_rng(seed), TIMES, SIZE)
             for seed in (5, 5, 6)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_a_walker_crosses_the_picture_unless_followed() -> None:
    look = look_of(WALK)
    middle = TIMES.mean()
    (walker, ) = project(WALK, look, TIMES, middle)
    assert (np.diff(walker.feet[:, 0]) > 0).all()
    (followed, ) = project(WALK, following(WALK, look, TIMES), TIMES, middle)
    np.testing.assert_allclose(
        followed.feet, np.tile(walker.feet.mean(0), (8, 1)), atol=2)
    (behind, ) = project(
        WALK, look._replace(camera=look.camera._replace(yaw=np.pi)), TIMES,
        middle)
    assert (np.diff(behind.feet[:, 0]) < 0).all()


@pytest.mark.parametrize('course, sign', [(np.pi / 2, 1), (-np.pi / 2, -1)])
def test_a_sidestep_crosses_the_picture_seen_from_the_front(
        course: float, sign: int) -> None:
    sidestep = MotionProgram(1., {}, velocity=0.8, course=course)
    scene = Scene(np.pi / 2, (Actor(sidestep, 0., 0.), ))
    (person, ) = project(scene, look_of(scene), TIMES, TIMES.mean())
    assert (sign * np.diff(person.feet[:, 0]) > 0).all()
    assert np.ptp(person.scale) < 1e-9  # neither nearer nor farther


def test_who_is_nearer_is_larger() -> None:
    look = look_of(STILL)
    near, far = (
        project(STILL._replace(actors=(Actor(MotionProgram(1., {}), place,
                                             0.), )),
                look._replace(camera=look.camera._replace(
                    yaw=np.pi / 2, distance=4.)), TIMES, 0.)[0].scale[0]
        for place in (-1., 1.))
    assert near / far == pytest.approx(5 / 3, rel=0.05)


def test_the_body_is_where_it_is_projected() -> None:
    look = look_of(STILL)
    (person, ) = people = project(STILL, look, TIMES, TIMES.mean())
    frame = paint(STILL, look, people, 0, SIZE).astype(float)
    empty = cv2.resize(look.background, SIZE, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(np.abs(frame - empty).max(-1) > 8)
    points = np.concatenate([person.ends[0].reshape(-1, 2),
                             person.head[:1]]) / (2 * UNIT)
    for found, axis in ((columns, 0), (rows, 1)):
        low, high = points[:, axis].min(), points[:, axis].max()
        margin = 0.15 * person.scale[0] / 2
        inside = [low - margin, high + margin]
        assert inside[0] <= found.min() <= low + margin
        assert high - margin <= found.max() <= inside[1]


@pytest.mark.parametrize('kind', ['ball', 'stick', 'box'])
def test_a_thing_is_painted_and_passed_on(kind: str) -> None:
    actors = tuple(Actor(MotionProgram(1., {}), place, heading)
                   for place, heading in ((-0.6, 0.), (0.6, np.pi)))
    pair = Scene(0., actors, Prop(kind, ((0, 'left'), (1, 'left'))))
    look = look_of(pair)
    people = project(pair, look, TIMES, TIMES.mean())
    changes = []
    for t in (0, 7):
        drawn, without = (
            paint(scene, look, people, t, SIZE).astype(float)
            for scene in (pair, pair._replace(prop=None)))
        columns = np.nonzero(np.abs(drawn - without).max(-1) > 4)[1]
        changes.append(columns.mean())
    assert changes[1] > changes[0] + 10


def test_noise_blur_and_compression_change_a_clip(
        monkeypatch: pytest.MonkeyPatch) -> None:
    scene = sample_scene(np.random.default_rng(3))
    plain = look_of(scene)._replace(noise=0., quality=None)
    clips = []
    for look in (plain, plain._replace(noise=5.),
                 plain._replace(exposure=0.05), plain._replace(quality=20),
                 plain._replace(gain=0.5 * plain.gain)):
        monkeypatch.setattr(render, 'sample_look', lambda *_, it=look: it)
        clips.append(
            render_clip(scene, np.random.default_rng(0), TIMES, SIZE))
    for clip in clips[1:]:
        assert (clip != clips[0]).any()
    assert clips[4].mean() == pytest.approx(clips[0].mean() / 2, rel=0.05)
