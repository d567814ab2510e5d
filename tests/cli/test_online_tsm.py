# Copyright (c) The mmlcr authors. All rights reserved.
"""TSM frame by frame, against a clip with a shift from the past alone."""
from typing import Any, Callable

import pytest
import torch
from torch import Tensor, nn

from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS
from mmlcr.cli.online_tsm import OnlineTSM

FRAMES = 4
FLOAT32_TOLERANCE = 1e-5


def shift_from_past(x: Tensor, num_segments: int,
                    shift_div: int = 8) -> Tensor:
    """Shift a whole clip ``(T, channels, height, width)`` by one frame."""
    assert len(x) == num_segments == FRAMES
    channels = x.shape[1] // shift_div
    shifted = x.clone()
    shifted[1:, :channels] = x[:-1, :channels]
    shifted[0, :channels] = 0
    return shifted


def build(backbone: dict, channels: int) -> nn.Module:
    return MODELS.build(
        dict(type='Recognizer2D', backbone=backbone,
             cls_head=dict(type='TSMHead', num_classes=5, num_segments=FRAMES,
                           in_channels=channels))).eval()


@pytest.mark.parametrize('backbone, channels', [
    (dict(type='MobileNetV2TSM', num_segments=FRAMES, pretrained2d=False),
     1280),
    (dict(type='ResNetTSM', depth=18, num_segments=FRAMES,
          pretrained2d=False, pretrained=None), 512),
], ids=['mobilenet', 'resnet'])
def test_frames_are_those_of_a_clip(backbone: dict, channels: int,
                                    relative_error: Callable,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = build(backbone, channels)
    clip = torch.randn(FRAMES, 3, 64, 64)
    online = OnlineTSM(model).eval()
    monkeypatch.setattr(TemporalShift, 'shift', staticmethod(shift_from_past))
    with torch.no_grad():
        found = torch.cat([online(frame[None]) for frame in clip])
        features = model.cls_head.avg_pool(model.backbone(clip)).flatten(1)
        expected = model.cls_head.fc_cls(features)
    assert relative_error(found, expected) < FLOAT32_TOLERANCE
    assert not torch.equal(found[1], online(clip[1:2])[0])  # remembers


def test_a_model_without_shifts_is_refused() -> None:
    with pytest.raises(ValueError, match='ResNet has no temporal shift'):
        OnlineTSM(build(dict(type='ResNet', depth=18, pretrained=None), 512))
