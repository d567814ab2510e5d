# Copyright (c) The mmlcr authors. All rights reserved.
"""What mirroring a picture makes of a class, by its name."""
import re
from typing import Any, Dict, List, Sequence, Tuple

from torch import Tensor

_PAIRS = ('left', 'right'), ('clockwise', 'counterclockwise')
# of whole words, in both directions
_MIRRORED = {
    a + end: b + end
    for pair in _PAIRS
    for a, b in (pair, pair[::-1]) for end in ('', 'ward', 'wards')
}


class ManyHotLabelMap(Dict[int, int]):
    """``flip_label_map`` of MMAction2's ``Flip`` for clips of many labels.

    ``Flip`` looks a label up by ``get``. A plain dictionary does not know a
    many-hot vector, and the labels would stay.
    """

    def get(self, label: Any, default: Any = None) -> Any:
        """The label of the mirrored clip; many-hot, ``(classes, )``, too."""
        if not isinstance(label, Tensor):
            return super().get(label, default)
        mirrored = label.clone()
        mirrored[[*self]] = 0
        for before, after in self.items():
            mirrored[after] = max(mirrored[after], label[before])
        return mirrored


def mirrored_labels(classes: Sequence[str]) -> Dict[int, int]:
    """Pair the classes that a mirror turns into each other.

    Their names differ in left and right, or in clockwise and counterclockwise,
    as words of their own: ``'Swiping Left'``, ``'wave_left'``,
    ``'swipeLeft'``, ``'Anti-clockwise'``.

    Args:
        classes (Sequence[str]): Names, in the order of the labels.

    Returns:
        dict[int, int]: The label of each mirrored class, in both directions;
        as ``flip_label_map`` of MMAction2's ``Flip``.
    """
    numbers = {_words(name): label for label, name in enumerate(classes)}
    found = {}
    for label, name in enumerate(classes):
        partner = numbers.get(_mirror(_words(name)), label)
        if partner != label:
            found[label] = partner
    return found


def without_mirrored(classes: Sequence[str]) -> List[str]:
    """The classes that have a side, and no partner on the other.

    Pictures of them must not be mirrored: they would show what no class is
    for, under the name of the class.
    """
    paired = mirrored_labels(classes)
    return [
        name for label, name in enumerate(classes)
        if label not in paired and _mirror(_words(name)) != _words(name)
    ]


def _words(name: str) -> Tuple[str, ...]:
    """Lower-case words of a name, however they are joined."""
    name = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name).lower()
    name = re.sub(r'\b(counter|anti)[\W_]*clockwise', 'counterclockwise',
                  name.replace('_', ' '))
    return tuple(re.findall(r'[^\W_]+', name))


def _mirror(words: Tuple[str, ...]) -> Tuple[str, ...]:
    return tuple(_MIRRORED.get(word, word) for word in words)
