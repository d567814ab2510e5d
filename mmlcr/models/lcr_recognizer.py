# Copyright (c) The mmlcr authors. All rights reserved.
"""A 3D recognizer that passes the tube mask to its backbone."""
from typing import Any, Optional

import torch
from torch import Tensor

from mmaction.models.recognizers import Recognizer3D
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList
from .lcr_data_preprocessor import LCRDataPreprocessor


@MODELS.register_module()
class LCRRecognizer(Recognizer3D):
    """:class:`mmaction.models.Recognizer3D` with tube masks in training.

    In training, the masks that :class:`mmlcr.transforms.TubeMask` added to the
    data samples are passed to the backbone. Without them, and in testing, it
    is the same as ``Recognizer3D``, whose arguments it has.

    Raises:
        ValueError: If the data preprocessor has ``to_rgb=True``, which would
            drop the edge map.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.data_preprocessor, 'to_rgb', False):
            raise ValueError(
                'to_rgb=True of the data preprocessor drops the edge map, '
                'the fourth channel: decode to RGB and set to_rgb=False')
        if isinstance(self.data_preprocessor, LCRDataPreprocessor):
            self.backbone.normalize = self.data_preprocessor.normalization()

    def extract_feat(self,
                     inputs: Tensor,
                     stage: str = 'neck',
                     data_samples: OptSampleList = None,
                     test_mode: bool = False) -> tuple:
        """Extract features; arguments as in ``Recognizer3D``.

        The inputs are clips of shape ``(N, clips, 4, T, height, width)``.

        Returns:
            tuple[Tensor, dict]: Feature of the backbone for ``N * clips``
            clips, and further arguments of the head.
        """
        tube_mask = None if test_mode else _tube_masks(data_samples,
                                                       inputs.shape[1])
        if tube_mask is None:
            return super().extract_feat(inputs, stage, data_samples, test_mode)
        feature = self.backbone(inputs.flatten(0, 1), tube_mask=tube_mask)
        if stage == 'backbone':
            return feature, {}
        loss_aux: dict = {}
        if self.with_neck:
            feature, loss_aux = self.neck(feature, data_samples=data_samples)
        if stage == 'head' and self.with_cls_head:
            feature = self.cls_head(feature, loss_aux=loss_aux)
        return feature, dict(loss_aux=loss_aux)


def _tube_masks(data_samples: OptSampleList, clips: int) -> Optional[Tensor]:
    """Stack masks to ``(N * clips, rows, cols)``; None without masks."""
    masks = [s.tube_mask for s in data_samples or [] if 'tube_mask' in s]
    if not masks:
        return None
    if len(masks) != len(data_samples):
        raise ValueError(f'{len(masks)} of {len(data_samples)} samples of a '
                         'batch have a tube mask: all or none must have one')
    return torch.stack(masks).repeat_interleave(clips, dim=0)
