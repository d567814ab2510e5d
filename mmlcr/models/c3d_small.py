# Copyright (c) The mmlcr authors. All rights reserved.
"""A C3D for short and small clips."""
from typing import Optional, Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmaction.registry import MODELS


@MODELS.register_module()
class C3DSmall(BaseModule):
    """C3D (arXiv 1412.0767) with one narrow convolution in each stage.

    A stage is a 3x3x3 convolution, a batch norm, a ReLU and a max pooling that
    halves height and width, and from the second stage on the frames. The last
    stage is not pooled, as the head pools what is left.

    :class:`mmaction.models.C3D` has wide layers, pools away eight frames
    before its last stage, and its first linear layer fits one size of clips.

    Args:
        channels (sequence[int]): Width of each stage. Defaults to
            ``(16, 32, 64, 128, 128)``.
        in_channels (int): Channels of the clip. Defaults to 3.
        init_cfg (dict, optional): MMEngine's. Defaults to Kaiming's for the
            convolutions.
    """

    def __init__(self,
                 channels: Sequence[int] = (16, 32, 64, 128, 128),
                 in_channels: int = 3,
                 init_cfg: Optional[dict] = dict(
                     type='Kaiming', layer='Conv3d')) -> None:
        super().__init__(init_cfg)
        stages = []
        for stage, width in enumerate(channels):
            stages.append(
                ConvModule(
                    in_channels,
                    width,
                    3,
                    padding=1,
                    conv_cfg=dict(type='Conv3d'),
                    norm_cfg=dict(type='BN3d')))
            if stage < len(channels) - 1:
                size = (2 if stage else 1, 2, 2)  # frames, height, width
                stages.append(nn.MaxPool3d(size, size, ceil_mode=True))
            in_channels = width
        self.stages = Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features of clips.

        Args:
            x (Tensor): Clips of any size, shape
                ``(B, in_channels, T, height, width)``.

        Returns:
            Tensor: Shape ``(B, channels[-1], T', height', width')``; with
            five stages ``T / 8``, ``height / 16`` and ``width / 16``, rounded
            up.
        """
        return self.stages(x)
