# Copyright (c) The mmlcr authors. All rights reserved.
"""Splits of clips into training and test sets, by group.

All clips of a group, such as a person, place or recording, go into one set.
"""
import random
from typing import Dict, Iterable, List, NamedTuple, Sequence

import numpy as np


class Clip(NamedTuple):
    """A clip that becomes a line of an annotation list."""
    path: str  # relative to the folder of all clips, with /
    label: str  # name of its class; several are written as a|b
    group: str  # e.g. its person; its path if that is unknown

    @property
    def labels(self) -> List[str]:
        """The names of its classes."""
        return [name.strip() for name in self.label.split('|')]


def class_names_of(clips: Iterable[Clip]) -> List[str]:
    """Return the class names of all clips in alphabetical order."""
    return sorted({name for clip in clips for name in clip.labels})


Parts = Dict[str, List[Clip]]  # clips by the part's name: train, test, ...


def make_folds(groups: Sequence[str], num_folds: int) -> List[List[str]]:
    """Split groups into consecutive folds, whose sizes differ by at most one.

    Args:
        groups (Sequence[str]): Names of the groups.
        num_folds (int): Number of folds.

    Raises:
        ValueError: If there are more folds than groups, or fewer than two.
    """
    if not 2 <= num_folds <= len(groups):
        raise ValueError('the number of folds must be between 2 and the '
                         f'number of groups, {len(groups)}, got {num_folds}')
    edges = [len(groups) * fold // num_folds for fold in range(num_folds + 1)]
    return [list(groups[a:b]) for a, b in zip(edges, edges[1:])]


def stratified_group_split(clips: Sequence[Clip], shares: Sequence[float],
              seed: int = 0) -> List[List[str]]:
    """Split groups so that each part has its share of every class.

    Groups are assigned greedily, the largest first, to the part that lacks
    their classes most.

    Args:
        clips (Sequence[Clip]): The clips of all groups.
        shares (Sequence[float]): Shares of the parts, whose sum is one.
        seed (int): Determines the order of groups of equal size. Defaults to
            0.

    Returns:
        list[list[str]]: The sorted groups of each part, at least one.

    Raises:
        ValueError: If there are more parts than groups.
    """
    labels = class_names_of(clips)
    groups = sorted({clip.group for clip in clips})
    if len(groups) < len(shares):
        raise ValueError(f'{len(groups)} group(s) of clips can not be split '
                         f'into {len(shares)} parts: {groups}')
    columns = {label: column for column, label in enumerate(labels)}
    counts = {group: np.zeros(len(labels)) for group in groups}
    for clip in clips:
        counts[clip.group][[columns[name] for name in clip.labels]] += 1
    totals = sum(counts.values())
    random.Random(seed).shuffle(groups)
    groups.sort(key=lambda group: -counts[group].sum())

    parts: List[List[str]] = [[] for _ in shares]
    assigned = np.zeros((len(shares), len(labels)))  # clips of each class
    for number, group in enumerate(groups):
        # how the group changes each part's squared distance from its share
        change = (assigned / totals - np.array(shares)[:, None]) @ (
            counts[group] / totals)
        empty = [part for part, names in enumerate(parts) if not names]
        if len(empty) == len(groups) - number:  # each needs one of the rest
            part = min(empty, key=lambda part: change[part])
        else:
            part = int(change.argmin())
        parts[part].append(group)
        assigned[part] += counts[group]
    return [sorted(names) for names in parts]


def clips_of(clips: Sequence[Clip], groups: Sequence[str]) -> List[Clip]:
    """Return the clips of some groups, in the order of ``clips``."""
    members = set(groups)
    return [clip for clip in clips if clip.group in members]


def assert_disjoint(parts: Parts) -> None:
    """Check that no group and no clip is in two parts.

    Raises:
        ValueError: If one is; names it.
    """
    for kind in ('group', 'path'):
        part_of: Dict[str, str] = {}
        for part, clips in parts.items():
            for name in sorted({getattr(clip, kind) for clip in clips}):
                if name in part_of:
                    raise ValueError(f'the {kind} {name} is in '
                                     f'{part_of[name]} and in {part}')
                part_of[name] = part


def absent_classes(parts: Parts, classes: Sequence[str]) -> List[str]:
    """Return a message for each part in which classes have no clip."""
    messages = []
    for part, clips in parts.items():
        present = class_names_of(clips)
        names = [name for name in classes if name not in present]
        if names:
            messages.append(f'{part} has no clip of {", ".join(names)}')
    return messages
