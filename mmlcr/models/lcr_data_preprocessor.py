# Copyright (c) The mmlcr authors. All rights reserved.
"""A data preprocessor that keeps test clips in uint8."""
from typing import Any, List, Tuple

from mmengine.model import stack_batch
from torch import Tensor

from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmlcr.layers import Normalize


@MODELS.register_module()
class LCRDataPreprocessor(ActionDataPreprocessor):
    """Normalizes clips in training, and leaves that to LCR in testing.

    In float32, a uint8 clip would be four times as large. So in testing it
    stays in uint8, and :class:`LCR` normalizes it slice by slice. Arguments
    are those of :class:`mmaction.models.ActionDataPreprocessor`, with format
    shape ``'NCTHW'`` only.

    Raises:
        ValueError: If the format shape is another one.
    """

    def __init__(self, *, format_shape: str = 'NCTHW', **kwargs: Any) -> None:
        if format_shape != 'NCTHW':
            raise ValueError("LCR reads clips of format shape 'NCTHW', got "
                             f'{format_shape!r}')
        super().__init__(format_shape=format_shape, **kwargs)

    def preprocess(self,
                   inputs: List[Tensor],
                   data_samples: list,
                   training: bool = False) -> Tuple[Tensor, list]:
        """Stack clips ``(clips, 4, T, height, width)`` to a batch."""
        if training:
            return super().preprocess(inputs, data_samples, training)
        return stack_batch(inputs), data_samples

    def normalization(self) -> Normalize:
        """Return the normalization of clips ``(B, 4, T, height, width)``."""
        if self._enable_normalize:
            return Normalize(self.mean.flatten(), self.std.flatten())
        return Normalize.identity(4)
