# Copyright (c) The mmlcr authors. All rights reserved.
"""Retention, state norms and layer inputs, which visualization uses."""
from typing import Callable

import pytest
import torch
from lcr_cases import FLOAT64_TOLERANCE, OPTIONS, build, draw_clip

from mmlcr.visualization import retention, split_at_layer


@pytest.mark.parametrize('name', [
    'default', 'coupled', 'coupled-residual', 'position', 'difference',
    'no-edges', 'vrwkv6', 'vrwkv6-post-norm'
])
def test_retention_is_what_the_next_cell_has_of_the_last(
        name: str, redraw: Callable) -> None:
    """It is the derivative of each cell state by the previous one."""
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(2, 3, dtype=torch.float64)
    state = model.forward_frames(clip[:, :, :2])[1]
    shares = retention(model, clip[:, :, 2], state)
    assert shares.shape == (2, 2, 5, 4)
    for layer, of_layer in enumerate(shares):
        c = state.layers.c.detach().requires_grad_()
        before = state._replace(layers=state.layers._replace(c=c))
        after = model.forward_step(clip[:, :, 2], before)[1]
        factor, = torch.autograd.grad(after.layers.c[layer].sum(), c)
        expected = factor[layer, :, :-1].mean(-1).unflatten(-1, (5, 4))
        torch.testing.assert_close(
            of_layer, expected, rtol=0, atol=FLOAT64_TOLERANCE)
    assert not shares.requires_grad
    first = retention(model, clip[:, :, 2])
    assert torch.equal(first, shares) == (name != 'difference')


def test_state_norms_are_of_the_oldest_window(redraw: Callable) -> None:
    model = build(redraw)
    clip = draw_clip(2, 4)
    old = model.forward_frames(clip)[1]
    joined = old.join(model.forward_frames(clip[:, :, 2:])[1])
    for norms, tokens in zip(joined.state_norms(),
                             (old.layers.h, old.layers.c)):
        assert norms.shape == (2, 2, 20)
        for layer, sample, patch in ((0, 1, 0), (1, 0, 19)):
            channels = tokens[layer, sample, patch].tolist()
            assert norms[layer, sample, patch].item() == pytest.approx(
                sum(value**2 for value in channels)**0.5, rel=1e-5)


@pytest.mark.parametrize('layer', [0, 1])
@pytest.mark.parametrize('name', OPTIONS)
def test_a_clip_split_at_a_layer_is_whole(name: str, layer: int,
                                        redraw: Callable) -> None:
    """The second part computes the feature, with gradients by all frames."""
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(2, 3, dtype=torch.float64)
    with torch.no_grad():
        x, e, feature = split_at_layer(model, clip, layer)
    made = feature(x.requires_grad_(), e.requires_grad_())
    torch.testing.assert_close(
        made, model(clip), rtol=FLOAT64_TOLERANCE, atol=FLOAT64_TOLERANCE)
    gradients = torch.autograd.grad(made.sum(), (x, e))
    assert all((g != 0).flatten(2).any(-1).all() for g in gradients)


def test_there_is_no_split_above_the_last_layer(redraw: Callable) -> None:
    model = build(redraw)
    for layer in (-1, 2):
        with pytest.raises(ValueError, match=f'no layer {layer}, only 0 to 1'):
            split_at_layer(model, draw_clip(), layer)
