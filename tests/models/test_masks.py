# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR with tube masks."""
from typing import Callable

import pytest
import torch
from lcr_cases import (
    DIFFERENT,
    FLOAT64_TOLERANCE,
    OPTIONS,
    SAME_FLOAT32_TOLERANCE,
    build,
    draw_clip,
    draw_mask,
    expected_feature,
)


@pytest.mark.parametrize('name', [
    'default', 'paper', 'coupled-residual', 'vrwkv6', 'vrwkv6-post-norm'])
def test_masked_model_is_its_equations(name: str, redraw: Callable,
                                       relative_error: Callable) -> None:
    options = OPTIONS[name]
    model = build(redraw, torch.float64, **options)
    clip, masks = draw_clip(dtype=torch.float64), draw_mask(2, 5, 4, 9)
    features = model(clip, masks)
    for feature, sample, mask in zip(features, clip, masks):
        expected = expected_feature(model, options, sample, mask)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('name',
                         ['default', 'paper', 'coupled-residual', 'position'])
def test_dropped_patches_do_not_matter(name: str, redraw: Callable,
                                       relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    mask = draw_mask(2, 5, 4, 9)
    pixels = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels = pixels[:, None, None].expand_as(clip)
    noise = torch.where(pixels, 1e3 * torch.randn_like(clip), 0.)
    assert torch.equal(model(clip + noise, mask), model(clip, mask))
    assert relative_error(model(clip + noise), model(clip)) > DIFFERENT


@pytest.mark.parametrize('name', OPTIONS)
def test_mask_that_drops_nothing(name: str, redraw: Callable,
                                 relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    nothing = torch.zeros(2, 5, 4, dtype=torch.bool)
    assert relative_error(model(clip, nothing),
                          model(clip)) < SAME_FLOAT32_TOLERANCE


@pytest.mark.parametrize('name', ['default', 'conv', 'mean', 'attention'])
def test_each_clip_has_its_mask(name: str, redraw: Callable,
                                relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(dtype=torch.float64)
    masks = draw_mask(2, 5, 4, 9)
    features = model(clip, masks)
    for b in (0, 1):
        alone = model(clip[b:b + 1], masks[b:b + 1])[0]
        assert relative_error(features[b], alone) < FLOAT64_TOLERANCE
    swapped = model(clip, masks.flip(0))
    assert relative_error(features, swapped) > DIFFERENT


@pytest.mark.parametrize(
    'clips, masks', [(2, 1), (2, 3), (1, 3)],
    ids=['clips2-masks1', 'clips2-masks3', 'clips1-masks3'])
def test_one_mask_a_clip(clips: int, masks: int, redraw: Callable) -> None:
    with pytest.raises(ValueError, match='tube_mask'):
        build(redraw)(draw_clip(clips), draw_mask(masks, 5, 4, 9))
