# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR against its equations, in every precision; causality."""
from typing import Callable

import pytest
import torch
from lcr_cases import (
    AUTOCAST_TOLERANCE,
    DIFFERENT,
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    OPTIONS,
    build,
    draw_clip,
    draw_mask,
    expected_feature,
)
from torch.utils._pytree import tree_leaves


@pytest.mark.parametrize('name', OPTIONS)
def test_model_is_its_equations(name: str, redraw: Callable,
                                relative_error: Callable) -> None:
    options = OPTIONS[name]
    model = build(redraw, torch.float64, **options)
    clip = draw_clip(dtype=torch.float64)
    features = model(clip)
    for feature, sample in zip(features, clip):
        expected = expected_feature(model, options, sample)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize(
    'options, height, width',
    [
        (dict(num_layers=1), 4, 4),
        (dict(num_layers=3), 4, 20),
        (dict(embed_dims=12, num_heads=3), 28, 12),
        (dict(embed_dims=24, num_heads=1, patch_size=5), 15, 35),
        (dict(patch_size=1, hidden_rate=1.3), 3, 5),
    ],
    ids=['N1-1x1', 'N3-1x5', 'D12-H3-7x3', 'D24-H1-P5-3x7', 'P1-rate1.3'])
def test_any_size(options: dict, height: int, width: int, redraw: Callable,
                  relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **options)
    clip = draw_clip(1, 3, height, width, torch.float64)
    expected = expected_feature(model, options, clip[0])
    assert relative_error(model(clip)[0], expected) < FLOAT64_TOLERANCE


def test_one_model_reads_frames_of_any_size(redraw: Callable,
                                            relative_error: Callable) -> None:
    model = build(redraw, torch.float64)
    for height, width in ((20, 16), (4, 28), (12, 12)):
        clip = draw_clip(1, 2, height, width, torch.float64)
        expected = expected_feature(model, {}, clip[0])
        assert relative_error(model(clip)[0], expected) < FLOAT64_TOLERANCE


def test_still_background_is_not_part_of_the_difference(
        redraw: Callable, relative_error: Callable) -> None:
    clip, other = draw_clip(), draw_clip(T=1)
    for name, same in (('difference', True), ('both', False)):
        model = build(redraw, stem_input=name)
        change = relative_error(model(clip + other), model(clip))
        assert change < FLOAT32_TOLERANCE if same else change > DIFFERENT


def test_without_edge_prompt_the_fourth_channel_is_ignored(
        redraw: Callable) -> None:
    model, clip = build(redraw, edge_prompt=False), draw_clip()
    feature = model(clip)
    assert torch.equal(model(clip[:, :3]), feature)
    clip[:, 3] = torch.nan
    assert torch.equal(model(clip), feature)


@pytest.mark.parametrize('name', ['default', 'paper', 'coupled-residual'])
def test_every_frame_counts(name: str, redraw: Callable,
                            relative_error: Callable) -> None:
    """The order of frames matters, too."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(1)
    feature = model(clip)
    for t in range(clip.shape[2]):
        other = clip.clone()
        other[:, :, t] = draw_clip(1, 1)[:, :, 0]
        assert relative_error(model(other), feature) > DIFFERENT
    assert relative_error(model(clip.flip(2)), feature) > DIFFERENT


@pytest.mark.parametrize('name', OPTIONS)
def test_later_frames_never_reach_earlier_outputs(name: str,
                                                  redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name], supervised_frames=5).train()
    clip = draw_clip(T=5)
    other = clip.clone()
    other[:, :, 3:] = torch.nan
    before, after = model(clip), model(other)  # (B, T, 2D)
    assert torch.equal(before[:, :3], after[:, :3])
    assert after[:, 3:].isnan().any(-1).all()


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', ['default', 'conv', 'coupled-residual'])
def test_one_clip_never_reaches_another(name: str, masked: bool,
                                        redraw: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(3)
    mask = draw_mask(3, 5, 4, 9) if masked else None
    alone = model(clip, mask)
    clip[1] = torch.nan
    features = model(clip, mask)
    assert features[1].isnan().any()
    assert torch.equal(features[[0, 2]], alone[[0, 2]])


def test_float32_is_float64(redraw: Callable,
                            relative_error: Callable) -> None:
    model, clip = build(redraw), draw_clip()
    got = model(clip)
    expected = model.double()(clip.double())
    assert got.dtype == torch.float32 and expected.dtype == torch.float64
    assert relative_error(got, expected) < FLOAT32_TOLERANCE


def test_float64_has_a_state_in_float64(redraw: Callable) -> None:
    model = build(redraw, torch.float64)
    feature, state = model.forward_step(
        draw_clip(dtype=torch.float64)[:, :, 0])
    assert feature.dtype == torch.float64
    assert {t.dtype for t in tree_leaves(state.layers)} == {torch.float64}


@pytest.mark.parametrize('name', ['default', 'conv', 'coupled-residual'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_autocast_keeps_the_state_in_float32(dtype: torch.dtype, name: str,
                                             redraw: Callable,
                                             relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    expected = model(clip[:, :, :1])
    with torch.autocast('cpu', dtype):
        feature, state = model.forward_frames(clip)
        first, after_step = model.forward_step(clip[:, :, 0])
    assert feature.isfinite().all()
    # only the first frame: the paper's cell amplifies rounding with each frame
    assert relative_error(first, expected) < AUTOCAST_TOLERANCE
    for layers in (state.layers, after_step.layers):
        assert layers.h.dtype == layers.c.dtype == torch.float32
    loss = feature.square().sum()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())
