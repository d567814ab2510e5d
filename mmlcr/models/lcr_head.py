# Copyright (c) The mmlcr authors. All rights reserved.
"""Class scores, equation (11)."""
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmaction.models.heads import BaseHead
from mmaction.models.losses import CrossEntropyLoss
from mmaction.registry import MODELS
from mmaction.utils import SampleList

SOFT_LABEL_TOLERANCE = 1e-3  # deviation of the sum of soft labels from one


@MODELS.register_module()
class LCRHead(BaseHead):
    """Class scores ``W LN([o_T; c_T])``, eq. (11).

    With ``multi_class=True`` a clip has any number of labels. The loss is then
    ``BCELossWithLogits``, and probabilities are independent sigmoids.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Width of the feature: twice the backbone's.
        dropout_ratio (float): Dropout after the norm. Defaults to 0.
        average_clips (str, optional): How the views of a video are averaged
            in testing, ``'prob'`` or ``'score'``. Defaults to ``'prob'``.
        init_cfg (dict, optional): MMEngine's. Defaults to a normal
            distribution of 0.02 for the linear layer.
        multi_class (bool): Whether clips have several labels, as many-hot
            vectors. Defaults to False.
        loss_cls (dict, optional): A loss of MMAction2. Defaults to None:
            ``CrossEntropyLoss``, with ``multi_class`` ``BCELossWithLogits``.
        kwargs (dict): Arguments of :class:`mmaction.models.BaseHead`, such as
            label smoothing and top-k.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 dropout_ratio: float = 0.,
                 average_clips: Optional[str] = 'prob',
                 init_cfg: Optional[dict] = dict(
                     type='TruncNormal', layer='Linear', std=0.02),
                 multi_class: bool = False,
                 loss_cls: Optional[dict] = None,
                 **kwargs: Any) -> None:
        kind = 'BCELossWithLogits' if multi_class else 'CrossEntropyLoss'
        super().__init__(
            num_classes,
            in_channels,
            multi_class=multi_class,
            loss_cls=loss_cls or dict(type=kind),
            average_clips=average_clips,
            init_cfg=init_cfg,
            **kwargs)
        self.norm = nn.LayerNorm(in_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(in_channels, num_classes)

    def loss(self, feats: Tensor, data_samples: SampleList,
             **kwargs: Any) -> dict:
        """Compute losses and accuracy from features.

        Args:
            feats (Tensor): Features of the backbone, shape
                ``(N, in_channels)``, or after several frames each, shape
                ``(N, frames, in_channels)``; then losses are averaged over
                frames.
            data_samples (list[ActionDataSample]): The ``N`` labels.
            kwargs (dict): Arguments that recognizers pass; unused.

        Returns:
            dict: ``loss_cls`` and the accuracy of each ``topk``.
        """
        if feats.ndim == 3:
            frames = feats.shape[1]
            data_samples = [s for s in data_samples for _ in range(frames)]
            feats = feats.flatten(0, 1)
        return super().loss(feats, data_samples, **kwargs)

    def loss_by_feat(self, cls_scores: Tensor,
                     data_samples: SampleList) -> dict:
        """Compute losses and accuracy from scores ``(N, num_classes)``.

        Raises:
            ValueError: If labels are many-hot and ``multi_class`` is False, or
                vice versa.
        """
        labels = [sample.gt_label for sample in data_samples]
        is_vector = labels[0].is_floating_point()
        if is_vector and not self.multi_class:  # soft labels sum up to one
            sums = torch.stack(labels).sum(-1)
            is_vector = bool(((sums - 1).abs() > SOFT_LABEL_TOLERANCE).any())
        if is_vector != self.multi_class:
            raise ValueError(
                f'labels of shape {tuple(labels[0].shape)}, and the head has '
                f'multi_class={self.multi_class}: the data set and the head '
                'must have the same multi_class')
        return super().loss_by_feat(cls_scores, data_samples)

    def average_clip(self, cls_scores: Tensor, num_segs: int = 1) -> Tensor:
        """Average the scores of views ``(N * num_segs, num_classes)``.

        Returns:
            Tensor: Scores of clips, ``(N, num_classes)``; without
            ``average_clips``, those of all views.
        """
        if self.average_clips != 'prob':
            return super().average_clip(cls_scores, num_segs)
        return self.probabilities(cls_scores).unflatten(
            0, (-1, num_segs)).mean(1)

    def probabilities(self, cls_scores: Tensor) -> Tensor:
        """Convert scores ``(..., num_classes)`` to probabilities.

        They sum up to one, unless clips have several labels.
        """
        if self.multi_class and not isinstance(self.loss_cls,
                                               CrossEntropyLoss):
            return cls_scores.sigmoid()
        return cls_scores.softmax(-1)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Compute class scores from features.

        Args:
            x (Tensor): Features of the backbone, shape ``(N, in_channels)``.
            kwargs (dict): Arguments that recognizers pass (``loss_aux``);
                unused.

        Returns:
            Tensor: Scores before softmax or sigmoid, shape
            ``(N, num_classes)``, in float32 or wider, since MMAction2's
            metrics do not support bfloat16.
        """
        scores = self.fc_cls(self.dropout(self.norm(x)))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))
