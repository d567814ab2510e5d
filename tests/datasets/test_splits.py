# Copyright (c) The mmlcr authors. All rights reserved.
"""Splits by group: disjoint, and with the share of every class."""
import random
from collections import Counter
from typing import List

import pytest

from mmlcr.datasets import (
    Clip,
    absent_classes,
    assert_disjoint,
    clips_of,
    make_folds,
    stratified_group_split,
)


def people(sizes: List[List[int]]) -> List[Clip]:
    """Make clips from counts by person and class."""
    return [
        Clip(f'{label}/{person}_{number}.mp4', f'class{label}',
             f'person{person:02}') for person, counts in enumerate(sizes)
        for label, count in enumerate(counts) for number in range(count)
    ]


def test_folds_are_in_order_and_of_equal_size() -> None:
    folds = make_folds('abcdefgh', 3)
    assert folds == [['a', 'b'], ['c', 'd', 'e'], ['f', 'g', 'h']]


@pytest.mark.parametrize('num_folds', [1, 0, -1, 5])
def test_make_folds_refuses(num_folds: int) -> None:
    with pytest.raises(ValueError, match=f'groups, 4, got {num_folds}'):
        make_folds('abcd', num_folds)


def test_weizmanns_people() -> None:
    """Nine people with a clip of each action."""
    clips = people([[1] * 10] * 9)
    train, val, test = stratified_group_split(clips, [7 / 9, 1 / 9, 1 / 9])
    assert [len(train), len(val), len(test)] == [7, 1, 1]
    assert len({*train, *val, *test}) == 9


@pytest.mark.parametrize('seed', range(3))
def test_clips_without_groups_are_split_by_class(seed: int) -> None:
    clips = [Clip(f'{label}/{n}', label, f'{label}/{n}')
             for label, count in (('a', 50), ('b', 10), ('c', 5))
             for n in range(count)]
    train, test = stratified_group_split(clips, [0.8, 0.2], seed)
    counts = Counter(clip.label for clip in clips_of(clips, test))
    assert counts == dict(a=10, b=2, c=1)
    assert stratified_group_split(clips, [0.8, 0.2], seed) == [train, test]
    assert stratified_group_split(clips, [0.8, 0.2], seed + 1) != [train, test]


def test_people_of_all_sizes() -> None:
    """Each class is near its shares."""
    draw = random.Random(5)
    clips = people([[draw.randint(0, 4) for _ in range(4)]
                    for _ in range(60)])
    totals = Counter(clip.label for clip in clips)
    parts = dict(zip(('train', 'val', 'test'),
                     stratified_group_split(clips, [0.6, 0.2, 0.2])))
    found = {name: clips_of(clips, groups) for name, groups in parts.items()}
    assert_disjoint(found)
    assert sum(map(len, found.values())) == len(clips)
    for name, share in (('train', 0.6), ('val', 0.2), ('test', 0.2)):
        counts = Counter(clip.label for clip in found[name])
        for label, total in totals.items():
            assert counts[label] / total == pytest.approx(share, abs=0.04)


def test_no_part_is_empty() -> None:
    clips = people([[9, 9], [1, 1], [1, 1]])
    assert stratified_group_split(clips, [0.6, 0.2, 0.2])[0] == ['person00']
    assert all(stratified_group_split(clips[:20], [0.9, 0.1]))
    with pytest.raises(ValueError, match='1 group.* into 2 parts.*person00'):
        stratified_group_split(clips[:18], [0.8, 0.2])


@pytest.mark.parametrize('kind, other', [
    ('group', Clip('b', 'x', 'ann')), ('path', Clip('a', 'x', 'bea'))
])
def test_overlap_of_parts_is_named(kind: str, other: Clip) -> None:
    parts = dict(train=[Clip('a', 'x', 'ann')], test=[other])
    name = getattr(other, kind)
    with pytest.raises(ValueError, match=f'the {kind} {name} is in train and '
                       'in test'):
        assert_disjoint(parts)


def test_absent_classes_are_listed() -> None:
    parts = dict(train=[Clip('a', 'x', '1'), Clip('b', 'y', '1')],
                 test=[Clip('c', 'y', '2')])
    assert absent_classes(parts, ['x', 'y']) == ['test has no clip of x']
