# Copyright (c) The mmlcr authors. All rights reserved.
"""Losses and gradients stay finite for extreme inputs and weights."""
import contextlib
from typing import Any, Callable, Optional

import pytest
import torch
from torch import Tensor, nn

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.models import LCRRecognizer

PATCH = 8
CELLS = {
    'paper': dict(cell='paper'),
    'paper-clip10': dict(cell='paper', cell_clip=10.),
    'coupled': dict(cell='coupled'),
}
FORMS = {
    'patch': dict(stem='patch'),
    'conv': dict(stem='conv'),
    'patch-plain': dict(
        stem='patch', temporal_shift=False, hidden_rate=4, readout='cls'),
    'conv-difference': dict(
        stem='conv',
        stem_input='difference',
        layer=dict(type='CrossRWKVLayer', residual=True),
        readout='attention'),
}
INPUTS = {
    'noise': {},
    'blank': dict(level=0.),
    'constant': dict(level=1.5),
    'black': dict(level=-2.1),
    'one-token': dict(height=PATCH, width=PATCH),
    'one-kept': dict(num_kept=1),
    'one-frame': dict(T=1),
    'one-blank-token-and-frame':
    dict(level=0., T=1, height=PATCH, width=PATCH),
    'large': dict(scale=1e3),
    'larger': dict(scale=1e15),
    'tiny': dict(scale=1e-30),
}
# strong decays erase neighbours, weak ones preserve all tokens
DECAYS = (-200., -20., 6., 20., 88., 100., 1e10)


def build(redraw: Optional[Callable], **options: Any) -> LCRRecognizer:
    """A tiny recognizer in training, with initial or random weights."""
    backbone = dict(
        type='LCR',
        embed_dims=16,
        num_heads=2,
        num_layers=2,
        patch_size=PATCH,
        **options)
    model = MODELS.build(
        dict(
            type='LCRRecognizer',
            backbone=backbone,
            cls_head=dict(type='LCRHead', num_classes=5, in_channels=32)))
    model.backbone.init_weights()
    return (redraw(model) if redraw else model).train()


def draw_clip(T: int = 4,
              height: int = 2 * PATCH,
              width: int = 2 * PATCH,
              level: Optional[float] = None,
              scale: float = 1.) -> Tensor:
    """Two normalized clips; with a level, constant frames without edges."""
    clip = scale * torch.randn(2, 1, 4, T, height, width)
    if level is not None:
        clip[:, :, :3], clip[:, :, 3] = level, 0.
    return clip


def draw_samples(num_kept: Optional[int]) -> list:
    """Labels, with masks that keep only the last patches."""
    data_samples = []
    for label in range(2):
        sample = ActionDataSample().set_gt_label(label)
        if num_kept is not None:
            mask = torch.arange(4) < 4 - num_kept
            sample.set_field(mask.view(2, 2), 'tube_mask')
        data_samples.append(sample)
    return data_samples


def assert_finite(model: LCRRecognizer,
                  clip: Tensor,
                  num_kept: Optional[int],
                  precision: str,
                  name: str = '') -> None:
    """Check the loss, and all gradients before and after clipping."""
    context: Any = contextlib.nullcontext()
    if precision == 'bf16':
        context = torch.autocast('cpu', torch.bfloat16)
    with context:
        loss = model(clip, draw_samples(num_kept), mode='loss')['loss_cls']
    assert loss.isfinite(), name
    loss.backward()
    weights = dict(model.named_parameters())
    assert any(weight.grad is not None for weight in weights.values())

    def not_finite() -> list:
        return [
            name for name, weight in weights.items()
            if weight.grad is not None and not weight.grad.isfinite().all()
        ]

    assert not_finite() == [], name
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.)
    assert norm.isfinite(), name
    assert not_finite() == [], name


@pytest.mark.parametrize('drawn', [False, True], ids=['initial', 'drawn'])
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('cell', CELLS)
def test_of_any_input(cell: str, form: str, drawn: bool,
                      redraw: Callable) -> None:
    model = build(redraw if drawn else None, **CELLS[cell], **FORMS[form])
    for name, of_clip in INPUTS.items():
        of_clip = dict(of_clip)
        num_kept = of_clip.pop('num_kept', None)
        for precision in ('float32', 'bf16'):
            model.zero_grad()
            assert_finite(model, draw_clip(**of_clip), num_kept, precision,
                          name)


@pytest.mark.parametrize('level', [None, 0.], ids=['noise', 'blank'])
@pytest.mark.parametrize('cell', CELLS)
def test_of_many_frames(cell: str, level: Optional[float],
                        redraw: Callable) -> None:
    model = build(redraw, **CELLS[cell])
    clip = draw_clip(256, PATCH, PATCH, level)
    assert_finite(model, clip, None, 'float32')


@pytest.mark.parametrize('decay', DECAYS)
@pytest.mark.parametrize('cell', CELLS)
def test_of_any_decay(cell: str, decay: float, redraw: Callable) -> None:
    """The decays of all layers, or of a single channel."""
    for channels in (slice(None), slice(1)):
        for precision in ('float32', 'bf16'):
            model = build(redraw, **CELLS[cell])
            with torch.no_grad():
                for layer in model.backbone.layers:
                    layer.decay[0, channels] = decay
            assert_finite(model, draw_clip(), None, precision)


@pytest.mark.parametrize('decay', DECAYS)
def test_inference_of_any_decay(decay: float, redraw: Callable,
                                relative_error: Callable) -> None:
    """The backend of inference agrees with that of training."""
    model = build(redraw).eval()
    with torch.no_grad():
        for layer in model.backbone.layers:
            layer.decay[0] = decay
    clip = draw_clip()[:, 0]
    trained = model.backbone(clip)
    with torch.no_grad():
        feature = model.backbone(clip)
    # float32 as two paths round it
    assert relative_error(feature, trained) < 1e-5
