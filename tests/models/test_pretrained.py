# Copyright (c) The mmlcr authors. All rights reserved.
"""Initial and pretrained weights of LCR."""
from pathlib import Path
from typing import Callable, Optional

import pytest
import torch
from lcr_cases import (
    DIFFERENT,
    SAME_FLOAT32_TOLERANCE,
    TINY,
    build,
    draw_clip,
)

from mmaction.registry import MODELS
from mmlcr.models import LCR


@pytest.mark.parametrize('position_grid', [None, (5, 4)],
                         ids=['no-position', 'position'])
def test_pretrained_weights_survive_init(position_grid: Optional[tuple],
                                         tmp_path: Path,
                                         redraw: Callable) -> None:
    pretrained = build(redraw, position_grid=position_grid).state_dict()
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=pretrained), path)
    model = LCR(
        **TINY,
        position_grid=position_grid,
        init_cfg=dict(type='Pretrained', checkpoint=path))
    model.init_weights()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, pretrained[name]), name


@pytest.mark.parametrize('stem', ['conv', 'patch'])
@pytest.mark.parametrize('read', ['difference', 'frame'])
def test_stems_of_both_start_from_stems_of_one(
        stem: str, read: str, tmp_path: Path, redraw: Callable,
        relative_error: Callable) -> None:
    narrow = build(redraw, stem=stem, stem_input=read)
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=narrow.state_dict()), path)
    start = dict(type='Pretrained', checkpoint=path)
    if read == 'frame':
        start['stem_input'] = read
    wide = LCR(**TINY, stem=stem, stem_input='both', init_cfg=start)
    wide.init_weights()
    clip = draw_clip()
    expected = narrow(clip)
    assert relative_error(wide(clip), expected) < SAME_FLOAT32_TOLERANCE
    with torch.no_grad():  # the other half is there to be learned
        wide.stem.state_dict()[
            'layers.0.weight' if stem == 'conv' else 'projection.weight'
        ][0].add_(0.5)
    assert relative_error(wide(clip), expected) > DIFFERENT


def test_attention_starts_as_the_mean_and_cls(
        relative_error: Callable) -> None:
    attention = LCR(**{**TINY, 'readout': 'attention'})
    attention.init_weights()
    clip, parts = draw_clip(), []
    for readout in ('mean', 'cls'):
        part = LCR(**{**TINY, 'readout': readout})
        part.load_state_dict(attention.state_dict(), strict=False)
        parts.append(part(clip))
    assert relative_error(attention(clip), sum(parts)) < SAME_FLOAT32_TOLERANCE


def test_from_scratch_cls_and_position_are_drawn() -> None:
    model = LCR(**TINY, position_grid=(20, 20))
    assert not model.cls_token.any() and not model.position.any()
    model.init_weights()
    assert model.cls_token.any()
    # 6,400 draws: the deviation is known to one part in a hundred
    assert model.position.std().item() == pytest.approx(0.02, rel=0.05)


def test_size_of_the_jester_model() -> None:
    """The paper reports 5.14 M with its head."""
    defaults = LCR(position_grid=(14, 14))
    assert sum(p.numel() for p in defaults.parameters()) <= 5.4e6
    explicit = LCR(
        embed_dims=192,
        num_heads=3,
        num_layers=8,
        patch_size=16,
        hidden_rate=2,
        position_grid=(14, 14))
    assert [p.shape for p in explicit.parameters()
            ] == [p.shape for p in defaults.parameters()]


def test_registered_in_mmaction(redraw: Callable) -> None:
    model = MODELS.build(dict(type='LCR', **TINY))
    assert type(model) is LCR
    with pytest.raises(TypeError, match='num_head'):
        MODELS.build(dict(type='LCR', num_head=3))
