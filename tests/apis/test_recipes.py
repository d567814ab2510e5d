# Copyright (c) The mmlcr authors. All rights reserved.
"""What follows for a config from the files of some clips."""
import pytest

from mmlcr.apis.recipes import Facts, choose


@pytest.mark.parametrize('height, width, size', [
    (48, 64, (80, 64)), (64, 64, (72, 72)), (64, 48, (64, 80)),
    (36, 64, (96, 56)), (16, 256, (288, 32))
], ids=['4to3', 'square', 'upright', '16to9', 'flat'])
def test_pictures_have_the_shape_of_the_clips(
        height: int, width: int, size: tuple) -> None:
    facts = dict(a=Facts(50, 25., width, height))
    recipe = choose(facts, 60)
    assert (recipe.width, recipe.height) == size
    low, high = recipe.aspects
    assert low < size[0] / size[1] < high


@pytest.mark.parametrize('clips, epochs', [(5, 400), (60, 400), (150, 160),
                                           (10_000, 30)])
def test_epochs_are_fewer_with_more_clips(clips: int, epochs: int) -> None:
    facts = dict(a=Facts(50, 25., 64, 48))
    assert choose(facts, clips).epochs == epochs
