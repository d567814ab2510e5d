# Copyright (c) The mmlcr authors. All rights reserved.
"""TSM of MMAction2 frame by frame, as the baseline of a stream.

A Temporal Shift Module that reads past frames alone needs of each layer only
the channels that the next frame takes over (Lin, Gan, Han, *TSM: Temporal
Shift Module for Efficient Video Understanding*, arXiv 1811.08383, section
3.3). So a new frame costs what an image costs, not what a clip does.
"""
import copy
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmaction.models.backbones.resnet_tsm import TemporalShift


class OnlineShift(nn.Module):
    """Takes the first channels over from the previous frame.

    Args:
        shift (TemporalShift): MMAction2's shift of a whole clip, whose
            convolution is used.
    """

    def __init__(self, shift: TemporalShift) -> None:
        super().__init__()
        self.net = shift.net
        self.shift_div = shift.shift_div
        self.before: Optional[Tensor] = None  # of the previous frame

    def forward(self, x: Tensor) -> Tensor:
        """Shift and convolve a frame ``(N, channels, height, width)``."""
        channels = x.shape[1] // self.shift_div
        taken, own = x[:, :channels], x[:, channels:]
        before = torch.zeros_like(taken) if self.before is None else (
            self.before)
        self.before = taken.clone()
        return self.net(torch.cat([before, own], 1))


class OnlineTSM(nn.Module):
    """A recognizer of TSM for one frame at a time, with its weights.

    Args:
        recognizer (Recognizer2D): A recognizer of MMAction2 whose backbone
            has temporal shifts.

    Raises:
        ValueError: If it has none.
    """

    def __init__(self, recognizer: Any) -> None:
        super().__init__()
        self.backbone: nn.Module = copy.deepcopy(recognizer.backbone)
        self.cls_head: Any = copy.deepcopy(recognizer.cls_head)
        shifts = [(parent, name) for parent in self.backbone.modules()
                  for name, child in parent.named_children()
                  if isinstance(child, TemporalShift)]
        if not shifts:
            raise ValueError(f'{type(recognizer.backbone).__name__} has no '
                             'temporal shift')
        for parent, name in shifts:
            setattr(parent, name, OnlineShift(getattr(parent, name)))

    def forward(self, frame: Tensor) -> Tensor:
        """Compute the class scores of a frame ``(N, 3, height, width)``."""
        feature = self.cls_head.avg_pool(self.backbone(frame)).flatten(1)
        return self.cls_head.fc_cls(feature)
