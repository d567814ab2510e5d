# Copyright (c) The mmlcr authors. All rights reserved.
"""A clip, the same frames as a stream, and the state between frames."""
from typing import Callable

import pytest
import torch
from lcr_cases import (
    DIFFERENT,
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    OPTIONS,
    SAME_FLOAT32_TOLERANCE,
    build,
    draw_clip,
    draw_mask,
    stream,
)
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmlcr.layers import LayerState
from mmlcr.models.lcr import SLICE_FRAMES


@pytest.mark.parametrize('name', OPTIONS)
def test_clip_is_stream(name: str, redraw: Callable,
                        relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    feature, last = model(clip), stream(model, clip)[-1]
    assert feature.isfinite().all()
    assert relative_error(feature[:1], feature[1:]) > DIFFERENT
    expected = model.double()(clip.double())
    assert relative_error(feature, expected) < FLOAT32_TOLERANCE
    assert relative_error(last, expected) < FLOAT32_TOLERANCE
    exact = stream(model, clip.double())[-1]
    assert relative_error(exact, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', ['default', 'conv', 'attention'])
def test_supervised_frames_are_those_of_the_stream(
        name: str, masked: bool, redraw: Callable,
        relative_error: Callable) -> None:
    model = build(
        redraw, torch.float64, supervised_frames=3, **OPTIONS[name])
    clip = draw_clip(T=5, dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    features = model.train()(clip, mask)  # (B, 3, 2D)
    model.eval()
    for feature, T in zip(features.unbind(1), (3, 4, 5)):
        expected = model(clip[:, :, :T], mask)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE
    with pytest.raises(ValueError, match='supervised_frames=3 .*2 frames'):
        model.train()(clip[:, :, :2])


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize(
    'name', ['default', 'paper', 'coupled-residual', 'difference'])
def test_clip_in_two_pieces(name: str, masked: bool, redraw: Callable,
                            relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    whole, expected = model.forward_frames(clip, tube_mask=mask)
    _, state = model.forward_frames(clip[:, :, :3], tube_mask=mask)
    pieces, state = model.forward_frames(clip[:, :, 3:], state, mask)
    assert relative_error(pieces, whole) < FLOAT64_TOLERANCE
    assert len(tree_leaves(state)) == len(tree_leaves(expected))
    for a, b in zip(tree_leaves(state), tree_leaves(expected)):
        if isinstance(b, Tensor):
            assert relative_error(a, b) < FLOAT64_TOLERANCE
        else:  # no previous inputs without the difference; one memory
            assert a == b


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', OPTIONS)
def test_inference_walks_a_clip_in_slices(name: str, masked: bool,
                                          redraw: Callable,
                                          relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(T=2 * SLICE_FRAMES + 1, dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    whole, together = model(clip, mask), []
    model.norm_e.register_forward_pre_hook(
        lambda _, inputs: together.append(len(inputs[0])))
    with torch.no_grad():
        feature = model(clip, mask)
    assert relative_error(feature, whole) < FLOAT64_TOLERANCE
    assert together == [SLICE_FRAMES, SLICE_FRAMES, 1]


@pytest.mark.parametrize('name', ['default', 'difference'])
def test_step_leaves_its_state_as_it_was(name: str,
                                         redraw: Callable) -> None:
    """A state can be continued twice."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    _, state = model.forward_step(clip[:, :, 0])
    copies = [t.clone() for t in tree_leaves(state) if isinstance(t, Tensor)]
    first, _ = model.forward_step(clip[:, :, 1], state)
    again, _ = model.forward_step(clip[:, :, 1], state)
    assert torch.equal(first, again)
    after = [t for t in tree_leaves(state) if isinstance(t, Tensor)]
    assert all(torch.equal(a, b) for a, b in zip(after, copies))


@pytest.mark.parametrize('backend', ['auto', 'eager'])
@pytest.mark.parametrize('name', OPTIONS)
def test_windows_of_the_same_frames_go_together(name: str, backend: str,
                                                 redraw: Callable) -> None:
    """One window starts two frames later; then the older one is dropped."""
    model = build(redraw, **OPTIONS[name], backend=backend)
    clip = draw_clip(2, 6)
    with torch.no_grad():
        old = model.forward_frames(clip[:, :, :3])[1]
        new = model.forward_frames(clip[:, :, 2:3])[1]
        both = old.join(new)
        spare = LayerState._make(
            None if t is None else t.clone() for t in new.layers)
        for t in (3, 4, 5):
            frame = clip[:, :, t]
            of_old, old = model.forward_step(frame, old)
            of_new, new = model.forward_step(frame, new)
            if t == 5:
                both = both.drop_oldest(
                    spare if backend == 'auto' else None)
            of_both, both = model.forward_step(frame, both)
            expected = of_new if t == 5 else torch.cat([of_old, of_new])
            torch.testing.assert_close(
                of_both, expected, rtol=0,
                atol=SAME_FLOAT32_TOLERANCE * float(expected.norm()))


@pytest.mark.parametrize('backend', ['auto', 'eager'])
@pytest.mark.parametrize('name', OPTIONS)
def test_a_state_may_be_written_over(name: str, backend: str,
                                     redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name], backend=backend)
    clip, own, other = draw_clip(), None, None
    with torch.no_grad():
        for frame in clip.split(1, dim=2):
            expected, own = model.forward_frames(frame, own)
            found, other = model.forward_frames(
                frame, other, out=other and other.layers)
            assert torch.equal(found, expected)


@pytest.mark.parametrize('name', ['default', 'difference'])
def test_buffer_of_a_frame_may_be_reused(name: str,
                                         redraw: Callable) -> None:
    """A camera may write every frame to the same buffer."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    buffer, state = torch.empty_like(clip[:, :, 0]), None
    for frame in clip.unbind(2):
        buffer.copy_(frame)
        feature, state = model.forward_step(buffer, state)
    assert torch.equal(feature, stream(model, clip)[-1])


@pytest.mark.parametrize('name', ['default', 'clip', 'coupled', 'residual'])
def test_endless_stream_stays_finite(name: str, redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name])
    state = None
    with torch.no_grad():
        for _ in range(200):
            frame = 5 * draw_clip(1, 1, 4, 4)[:, :, 0]
            feature, state = model.forward_step(frame, state)
            assert feature.isfinite().all()
