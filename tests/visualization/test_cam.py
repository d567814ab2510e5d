# Copyright (c) The mmlcr authors. All rights reserved.
"""Grad-CAM against its definition, and on a clip with a known map."""
from typing import Any, Callable

import pytest
import torch
from mmengine.model import BaseModel

from mmaction.registry import MODELS
from mmlcr.visualization import grad_cam, split_at_layer

# float64 rounding, amplified by layers and frames
FLOAT64_TOLERANCE = 1e-11
STEP, DERIVATIVE_TOLERANCE = 1e-5, 1e-6  # of central differences in float64
PATCH, ROWS, COLS = 4, 3, 4
BRIGHT = (1, 2)  # the patch that alone is not black


def build(**options: Any) -> BaseModel:
    backbone = dict(
        type='LCR', embed_dims=16, num_heads=2, num_layers=2,
        patch_size=PATCH, **options)
    return MODELS.build(
        dict(
            type='LCRRecognizer',
            backbone=backbone,
            cls_head=dict(type='LCRHead', num_classes=3, in_channels=32),
            data_preprocessor=dict(
                type='LCRDataPreprocessor', mean=[0.] * 4,
                std=[1.] * 4))).double().eval()


def draw_clip() -> torch.Tensor:
    return torch.randn(2, 4, 3, PATCH * ROWS, PATCH * COLS).double()


@pytest.mark.parametrize('readout', ['cls', 'mean', 'attention'])
@pytest.mark.parametrize('layer', [0, 1, None])
def test_grad_cam_is_its_definition(layer: Any, readout: str,
                                    redraw: Callable) -> None:
    """Compare with gradients by central differences, one channel at a time.

    The mean gradient over patches and frames is the derivative by a common
    shift of all of them, divided by their number.
    """
    model = redraw(build(readout=readout))
    clip = draw_clip()
    with torch.no_grad():
        x, e, feature = split_at_layer(
            model.backbone, clip, 1 if layer is None else layer)
        evidence = torch.zeros(x[..., :-1, 0].shape).double()
        count = x.shape[0] * (x.shape[2] - 1)
        for tokens in (x, e):
            for channel in range(16):
                scores = []
                for step in (STEP, -STEP):
                    tokens[..., :-1, channel] += step
                    scores.append(model.cls_head(feature(x, e))[:, 2])
                    tokens[..., :-1, channel] -= step
                alpha = (scores[0] - scores[1]) / (2 * STEP * count)
                evidence += alpha[:, None] * tokens[..., :-1, channel]
    found = grad_cam(model, clip, 2, layer)
    assert found.shape == (3, 2, ROWS, COLS)
    assert not found.requires_grad and (found > 0).any()
    torch.testing.assert_close(
        found, evidence.clamp(min=0).unflatten(-1, (ROWS, COLS)), rtol=0,
        atol=DERIVATIVE_TOLERANCE)


def test_the_patch_that_decides_lights_up() -> None:
    """All other patches are black: their tokens are zero, no evidence."""
    model = build(readout='mean', rotary=False)
    for bias in (model.backbone.stem.projection.bias,
                 model.backbone.edge_stem.projection.bias):
        torch.nn.init.zeros_(bias)
    clip = torch.zeros_like(draw_clip())
    row, col = (PATCH * index for index in BRIGHT)
    clip[:, :, :, row:row + PATCH, col:col + PATCH] = 1.
    speaks_for = [grad_cam(model, clip, target, 0) for target in range(3)]
    lit = max(speaks_for, key=lambda cam: cam.sum().item())
    assert lit[:, :, BRIGHT[0], BRIGHT[1]].min() > 0
    lit[:, :, BRIGHT[0], BRIGHT[1]] = 0
    assert lit.abs().max() < FLOAT64_TOLERANCE


def test_parameters_get_no_gradients() -> None:
    model = build()
    grad_cam(model, draw_clip(), 0)
    assert all(weight.grad is None for weight in model.parameters())
