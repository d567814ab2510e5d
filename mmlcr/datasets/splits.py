# Copyright (c) The mmlcr authors. All rights reserved.
"""Who trains and who tests: clips are dealt by group, never one by one.

A group is whatever must not be on both sides: a person, a place, a recording.
"""
import random
from typing import Dict, Iterable, List, NamedTuple, Sequence

import numpy as np


class Clip(NamedTuple):
    """A line of a list to be."""
    path: str  # relative to the folder of all clips, with /
    label: str  # the name of its class, or of several, as a|b
    group: str  # its person, say; the path where nobody knows

    @property
    def labels(self) -> List[str]:
        """The names of its classes."""
        return [name.strip() for name in self.label.split('|')]


def class_names_of(clips: Iterable[Clip]) -> List[str]:
    """Those of all clips, in alphabetical order."""
    return sorted({name for clip in clips for name in clip.labels})


Parts = Dict[str, List[Clip]]  # by their names: train, test, ...


def deal(names: Sequence[str], parts: int) -> List[List[str]]:
    """Deal names into consecutive parts, of sizes alike.

    Raises:
        ValueError: If there are more parts than names, or fewer than two.
    """
    if not 2 <= parts <= len(names):
        raise ValueError('the number of folds must be between 2 and the '
                         f'number of groups, {len(names)}, got {parts}')
    edges = [len(names) * part // parts for part in range(parts + 1)]
    return [list(names[a:b]) for a, b in zip(edges, edges[1:])]


def share_out(clips: Sequence[Clip], shares: Sequence[float],
              seed: int = 0) -> List[List[str]]:
    """Give each part its share of the clips of every class, as near as can be.

    The largest group goes first, each to the part that lacks its classes most.

    Args:
        clips (Sequence[Clip]): Of all groups.
        shares (Sequence[float]): Of the parts, their sum is one.
        seed (int): By which groups of one size are ordered. Defaults to 0.

    Returns:
        list[list[str]]: The groups of each part, at least one, sorted.

    Raises:
        ValueError: If there are more parts than groups.
    """
    labels = class_names_of(clips)
    groups = sorted({clip.group for clip in clips})
    if len(groups) < len(shares):
        raise ValueError(f'{len(groups)} group(s) of clips can not be dealt '
                         f'into {len(shares)} parts: {groups}')
    places = {label: place for place, label in enumerate(labels)}
    counts = {group: np.zeros(len(labels)) for group in groups}
    for clip in clips:
        counts[clip.group][[places[name] for name in clip.labels]] += 1
    totals = sum(counts.values())
    random.Random(seed).shuffle(groups)
    groups.sort(key=lambda group: -counts[group].sum())

    dealt: List[List[str]] = [[] for _ in shares]
    taken = np.zeros((len(shares), len(labels)))
    for number, group in enumerate(groups):
        # of the squared distances from the shares, what the group changes
        lack = (taken / totals - np.array(shares)[:, None]) @ (
            counts[group] / totals)
        empty = [part for part, names in enumerate(dealt) if not names]
        if len(empty) == len(groups) - number:  # one is left for each
            part = min(empty, key=lambda part: lack[part])
        else:
            part = int(lack.argmin())
        dealt[part].append(group)
        taken[part] += counts[group]
    return [sorted(names) for names in dealt]


def clips_of(clips: Sequence[Clip], groups: Sequence[str]) -> List[Clip]:
    """Those of some groups, in their order."""
    wanted = set(groups)
    return [clip for clip in clips if clip.group in wanted]


def check_apart(parts: Parts) -> None:
    """See that no group and no clip is in two parts.

    Raises:
        ValueError: If one is; it is named.
    """
    for kind in ('group', 'path'):
        where: Dict[str, str] = {}
        for part, clips in parts.items():
            for name in sorted({getattr(clip, kind) for clip in clips}):
                if name in where:
                    raise ValueError(f'the {kind} {name} is in {where[name]} '
                                     f'and in {part}')
                where[name] = part


def absent_classes(parts: Parts, classes: Sequence[str]) -> List[str]:
    """What is to be said of classes without a clip in a part."""
    told = []
    for part, clips in parts.items():
        there = class_names_of(clips)
        names = [name for name in classes if name not in there]
        if names:
            told.append(f'{part} has no clip of {", ".join(names)}')
    return told
