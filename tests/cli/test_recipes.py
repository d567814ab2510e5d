# Copyright (c) The mmlcr authors. All rights reserved.
"""What follows for a config from the files of some clips."""
import pytest

from mmlcr.cli.recipes import (
    VideoFacts,
    config_text,
    describe_sampling,
    suggest_settings,
)


@pytest.mark.parametrize('height, width, size', [
    (48, 64, (80, 64)), (64, 64, (72, 72)), (64, 48, (64, 80)),
    (36, 64, (96, 56)), (16, 256, (288, 32))
], ids=['4to3', 'square', 'upright', '16to9', 'flat'])
def test_pictures_have_the_shape_of_the_clips(
        height: int, width: int, size: tuple) -> None:
    facts = dict(a=VideoFacts(50, 25., width, height))
    recipe = suggest_settings(facts, 60)
    assert (recipe.width, recipe.height) == size
    low, high = recipe.aspects
    assert low < size[0] / size[1] < high


def test_one_short_clip_in_ten_changes_nothing() -> None:
    facts = {str(n): VideoFacts(100, 25., 64, 48) for n in range(20)}
    usual = suggest_settings(facts, 20)
    facts['0'] = facts['1'] = VideoFacts(3, 25., 64, 48)
    recipe = suggest_settings(facts, 20)
    assert recipe._replace(gib=usual.gib) == usual and usual.interval == 3
    lines = describe_sampling(facts, usual)
    assert '2 of 20 clips have too few frames' in lines[-1]
    facts['2'] = VideoFacts(3, 25., 64, 48)
    assert suggest_settings(facts, 20).intervals == (1, )


@pytest.mark.parametrize('rates, frames, expected', [
    ((15, 30), 100, (0.08, 0.12, 0.16)), ((5, 25), 100, (0.2, 0.2667)),
    ((15, 30), 16, (0.0714, )), ((15, 30), 2, (0.0667, )),
], ids=['usual', 'slow', 'short', 'shortest'])
def test_mixed_rates_go_by_time(rates: tuple, frames: int,
                                expected: tuple) -> None:
    facts = {str(fps): VideoFacts(frames, fps, 64, 48) for fps in rates}
    recipe = suggest_settings(facts, 20)
    assert recipe.by_time and recipe.intervals == expected
    assert recipe.interval in expected


def test_rates_slower_than_the_samples_are_warned_of() -> None:
    facts = {str(n): VideoFacts(100, 25., 64, 48) for n in range(20)}
    facts['19'] = VideoFacts(100, 4., 64, 48)
    lines = describe_sampling(facts, suggest_settings(facts, 20))
    assert 'from 4 to 25 a second' in lines[0]
    assert '1 clips have fewer frames a second than are sampled' in lines[1]


@pytest.mark.parametrize('clips, epochs, from_scratch', [
    (5, 400, 1600), (60, 100, 400), (150, 40, 160), (10_000, 30, 30)])
def test_epochs_are_fewer_with_more_clips(clips: int, epochs: int,
                                          from_scratch: int) -> None:
    facts = dict(a=VideoFacts(50, 25., 64, 48))
    recipe = suggest_settings(facts, clips)
    assert (recipe.epochs, recipe.scratch_epochs) == (epochs, from_scratch)


@pytest.mark.parametrize('clips, is_cached', [(36, True), (37, False)])
def test_frames_that_fit_are_kept_in_memory(clips: int,
                                            is_cached: bool) -> None:
    """Clips of 56 MiB, up to 2 GiB."""
    facts = {str(n): VideoFacts(64, 25., 640, 480) for n in range(clips)}
    recipe = suggest_settings(facts, clips)
    text = config_text(recipe, ['a', 'b'], False, False, clips, False, False)
    assert ("cache='ram',  # " in text) == is_cached
    warned = 'too many to keep' in describe_sampling(facts, recipe)[-1]
    assert warned != is_cached
