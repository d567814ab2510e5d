# Copyright (c) The mmlcr authors. All rights reserved.
"""Labels of mirrored clips, derived from the names of the classes."""
import re
from typing import Any, Dict, List, Sequence, Tuple

from torch import Tensor

_PAIRS = ('left', 'right'), ('clockwise', 'counterclockwise')
# the mirrored form of a word
_MIRRORED = {
    a + end: b + end
    for pair in _PAIRS
    for a, b in (pair, pair[::-1]) for end in ('', 'ward', 'wards')
}


class ManyHotLabelMap(Dict[int, int]):
    """``flip_label_map`` of MMAction2's ``Flip`` for clips of many labels.

    ``Flip`` looks the label of a clip up by ``get``. A plain dictionary has no
    entry for a many-hot vector, and ``Flip`` would leave the labels unchanged.
    """

    def get(self, label: Any, default: Any = None) -> Any:
        """Return the label of the mirrored clip.

        Args:
            label (Any): A number, or a many-hot tensor of shape
                ``(classes, )``.
            default (Any): Returned for a number without an entry.
        """
        if not isinstance(label, Tensor):
            return super().get(label, default)
        mirrored = label.clone()
        mirrored[[*self]] = 0
        for before, after in self.items():
            mirrored[after] = max(mirrored[after], label[before])
        return mirrored


def mirrored_labels(classes: Sequence[str]) -> Dict[int, int]:
    """Pair the classes that mirroring exchanges.

    The names of such a pair differ in the words left and right, or clockwise
    and counterclockwise: ``'Swiping Left'``, ``'wave_left'``,
    ``'swipeLeft'``, ``'Anti-clockwise'``.

    Args:
        classes (Sequence[str]): Class names, in the order of the labels.

    Returns:
        dict[int, int]: The other label of each pair, for both labels, as
        MMAction2's ``Flip`` takes it for ``flip_label_map``.
    """
    numbers = {_words(name): label for label, name in enumerate(classes)}
    pairs = {}
    for label, name in enumerate(classes):
        partner = numbers.get(_mirror(_words(name)), label)
        if partner != label:
            pairs[label] = partner
    return pairs


def without_mirrored(classes: Sequence[str]) -> List[str]:
    """Classes with a direction in their name and no mirrored counterpart.

    Their clips must not be mirrored: a mirrored clip would belong to no class,
    and keep the label of the other direction.
    """
    paired = mirrored_labels(classes)
    return [
        name for label, name in enumerate(classes)
        if label not in paired and _mirror(_words(name)) != _words(name)
    ]


def _words(name: str) -> Tuple[str, ...]:
    """Split a name in any spelling into lower-case words."""
    name = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name).lower()
    name = re.sub(r'\b(counter|anti)[\W_]*clockwise', 'counterclockwise',
                  name.replace('_', ' '))
    return tuple(re.findall(r'[^\W_]+', name))


def _mirror(words: Tuple[str, ...]) -> Tuple[str, ...]:
    return tuple(_MIRRORED.get(word, word) for word in words)
