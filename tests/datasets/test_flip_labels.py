# Copyright (c) The mmlcr authors. All rights reserved.
"""Pairs of classes that mirroring exchanges, by their names."""
import pytest

from mmlcr.datasets import mirrored_labels, without_mirrored


@pytest.mark.parametrize('first, second', [
    ('Swiping Left', 'Swiping Right'),
    ('up_left', 'up_right'),
    ('swipeLeft', 'swipeRight'),
    ('turn-left', 'Turn Right'),
    ('Pulling something from left to right',
     'Pulling something from right to left'),
    ('Turning Hand Clockwise', 'Turning Hand Counterclockwise'),
    ('clockwise', 'anti-clockwise'),
    ('spin_clockwise', 'spin_counter_clockwise'),
    ('leftwards', 'rightwards'),
])
def test_pairs(first: str, second: str) -> None:
    classes = ['walk', first, 'run', second]
    assert mirrored_labels(classes) == {1: 3, 3: 1}
    assert without_mirrored(classes) == []


@pytest.mark.parametrize('name', [
    'walk', 'leftover', 'bright', 'copyright', 'clock', 'links'
], ids=str)
def test_words_that_hold_another_have_no_side(name: str) -> None:
    classes = ['left', name, 'right']
    assert mirrored_labels(classes) == {0: 2, 2: 0}
    assert without_mirrored(classes) == []


@pytest.mark.parametrize('name', ['wave_left', 'left or right'])
def test_a_side_without_the_other(name: str) -> None:
    classes = [name, 'wave', 'turn left', 'turn right']
    assert mirrored_labels(classes) == {2: 3, 3: 2}
    assert without_mirrored(classes) == [name]
