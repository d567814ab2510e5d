# Copyright (c) The mmlcr authors. All rights reserved.
"""Properties of LCR for any options, grid, mask and number of frames."""
from typing import Any, Callable, NamedTuple, Optional

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lcr_cases import (
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    build,
    draw_clip,
    expected_feature,
    stream,
)
from torch import Tensor

GRIDS = st.tuples(st.integers(1, 3), st.integers(1, 3))
OPTIONS = st.fixed_dictionaries(
    dict(
        size=st.sampled_from([(8, 1), (8, 2), (12, 3), (16, 2)]),
        num_layers=st.integers(1, 3),
        hidden_rate=st.sampled_from([1., 1.3, 2.5, 4.]),
        stem=st.sampled_from(['patch', 'conv']),
        temporal_shift=st.booleans(),
        stem_input=st.sampled_from(['frame', 'difference', 'both']),
        edge_prompt=st.booleans(),
        cell=st.sampled_from(['paper', 'coupled']),
        cell_clip=st.sampled_from([None, 2., 10.]),
        layer=st.sampled_from(
            [None, dict(type='CrossRWKVLayer', residual=True)]),
        rotary=st.booleans(),
        position_grid=st.one_of(st.none(), GRIDS),
        readout=st.sampled_from(['cls', 'mean', 'attention'])))


class Case(NamedTuple):
    """Options of a model, and its inputs."""
    options: dict
    clip: Tensor  # float64
    mask: Optional[Tensor]


@st.composite
def cases(draw: st.DrawFn, **fixed: Any) -> Case:
    options = draw(OPTIONS)
    options['embed_dims'], options['num_heads'] = options.pop('size')
    options.update(fixed)
    B, T = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows, cols = draw(GRIDS)
    num_kept = draw(st.one_of(st.none(), st.integers(1, rows * cols)))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    clip = draw_clip(B, T, 4 * rows, 4 * cols, torch.float64)
    mask = None
    if num_kept is not None:
        order = torch.rand(B, rows * cols).argsort(1)
        mask = (order >= num_kept).view(B, rows, cols)
    return Case(options, clip, mask)


@settings(max_examples=25)
@given(case=cases())
def test_any_model_is_its_equations(case: Case, redraw: Callable,
                                    relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **case.options)
    features = model(case.clip, case.mask)
    for index, feature in enumerate(features):
        mask = None if case.mask is None else case.mask[index]
        expected = expected_feature(model, case.options, case.clip[index],
                                    mask)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE


@settings(max_examples=25)
@given(case=cases())
def test_any_clip_is_a_stream(case: Case, redraw: Callable,
                              relative_error: Callable) -> None:
    """Compare frame by frame, and in two slices with the mask."""
    model = build(redraw, torch.float64, **case.options)
    step = stream(model, case.clip)[-1]
    assert relative_error(step, model(case.clip)) < FLOAT64_TOLERANCE
    whole = model(case.clip, case.mask)
    with torch.no_grad():
        first, state = model.forward_frames(
            case.clip[:, :, :1], tube_mask=case.mask)
        if case.clip.shape[2] > 1:
            first, state = model.forward_frames(case.clip[:, :, 1:], state,
                                                case.mask)
    assert relative_error(first, whole) < FLOAT64_TOLERANCE


@settings(max_examples=25)
@given(case=cases(), data=st.data())
def test_any_batch_is_its_clips(case: Case, data: st.DataObject,
                                redraw: Callable,
                                relative_error: Callable) -> None:
    """Samples in any order; a mask that drops nothing equals no mask."""
    model = build(redraw, torch.float64, **case.options)
    features = model(case.clip, case.mask)
    order = data.draw(st.permutations(range(len(features))))
    mask = None if case.mask is None else case.mask[order]
    permuted = model(case.clip[order], mask)
    assert relative_error(permuted, features[order]) < FLOAT64_TOLERANCE
    rows, cols = (side // 4 for side in case.clip.shape[3:])
    nothing = torch.zeros(len(features), rows, cols, dtype=torch.bool)
    unmasked = model(case.clip)
    assert relative_error(
        model(case.clip, nothing), unmasked) < FLOAT64_TOLERANCE


@settings(max_examples=25)
@given(case=cases(stem='patch'))
def test_no_dropped_patch_is_seen(case: Case, redraw: Callable) -> None:
    if case.mask is None:
        return
    model = build(redraw, torch.float64, **case.options)
    features = model(case.clip, case.mask)
    pixels = case.mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    hidden = case.clip.masked_fill(pixels[:, None, None], 1e3)
    assert torch.equal(model(hidden, case.mask), features)


@pytest.mark.parametrize('precision', ['float32', 'bf16'])
@settings(max_examples=15)
@given(case=cases())
def test_any_precision(precision: str, case: Case, redraw: Callable,
                       relative_error: Callable) -> None:
    """Results in float32 are close to float64's; autocast stays finite."""
    model, clip = build(redraw, **case.options), case.clip.float()
    if precision == 'float32':
        feature = model(clip, case.mask)
        assert feature.dtype == torch.float32
        exact = model.double()(clip.double(), case.mask)
        assert relative_error(feature, exact) < FLOAT32_TOLERANCE
        return
    with torch.autocast('cpu', torch.bfloat16):
        model(clip, case.mask).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is None or weight.grad.isfinite().all(), name
