# Copyright (c) The mmlcr authors. All rights reserved.
"""Class scores, equation (11)."""
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.utils import SampleList


@MODELS.register_module()
class LCRHead(BaseHead):
    """Class scores ``W LN([o_T; c_T])``, eq. (11).

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Width of the feature: twice the backbone's.
        dropout_ratio (float): Dropout after the norm. Defaults to 0.
        average_clips (str, optional): How the views of a video are averaged
            in testing, ``'prob'`` or ``'score'``. Defaults to ``'prob'``.
        init_cfg (dict, optional): MMEngine's. Defaults to a normal
            distribution of 0.02 for the linear layer.
        kwargs (dict): Those of :class:`mmaction.models.BaseHead`: loss,
            label smoothing, top-k.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 dropout_ratio: float = 0.,
                 average_clips: Optional[str] = 'prob',
                 init_cfg: Optional[dict] = dict(
                     type='TruncNormal', layer='Linear', std=0.02),
                 **kwargs: Any) -> None:
        super().__init__(
            num_classes,
            in_channels,
            average_clips=average_clips,
            init_cfg=init_cfg,
            **kwargs)
        self.norm = nn.LayerNorm(in_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(in_channels, num_classes)

    def loss(self, feats: Tensor, data_samples: SampleList,
             **kwargs: Any) -> dict:
        """Losses and accuracy of features.

        Args:
            feats (Tensor): Feature of the backbone, shape
                ``(N, in_channels)``, or after each of several frames, shape
                ``(N, frames, in_channels)``: the mean over frames then.
            data_samples (list[ActionDataSample]): The ``N`` labels.
            kwargs (dict): What recognizers pass along; unused.

        Returns:
            dict: ``loss_cls`` and the accuracy of each ``topk``.
        """
        if feats.ndim == 3:
            frames = feats.shape[1]
            data_samples = [s for s in data_samples for _ in range(frames)]
            feats = feats.flatten(0, 1)
        return super().loss(feats, data_samples, **kwargs)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Class scores of features.

        Args:
            x (Tensor): Feature of the backbone, shape ``(N, in_channels)``.
            kwargs (dict): What recognizers pass along (``loss_aux``); unused.

        Returns:
            Tensor: Scores before softmax, shape ``(N, num_classes)``, in
            float32 or wider: the metrics of MMAction2 read no bfloat16.
        """
        scores = self.fc_cls(self.dropout(self.norm(x)))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))
