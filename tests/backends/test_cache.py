# Copyright (c) The mmlcr authors. All rights reserved.
"""Cached executors are rebuilt when the parameters change."""
import copy
import pickle
from typing import Callable

import pytest
import torch
from lcr_cases import build, draw_clip
from torch import nn

from mmlcr.backends.cache import MAX_ENTRIES
from mmlcr.layers import Normalize
from mmlcr.models import LCR


@pytest.fixture(params=['eager', 'auto'])
def model(request: pytest.FixtureRequest, redraw: Callable) -> LCR:
    return build(redraw, readout='mean', backend=request.param)


def same_as_afresh(model: LCR, clip: torch.Tensor) -> bool:
    cached = model(clip)
    model.executors.clear()
    return torch.equal(cached, model(clip))


@torch.no_grad()
def test_executors_follow_the_parameters(model: LCR, redraw: Callable) -> None:
    clip, other = draw_clip(1, 2), build(redraw, readout='mean')
    first = model(clip)
    entries = {**model.executors.entries}
    assert torch.equal(model(clip), first)
    assert model.executors.entries == entries
    model.layers[0].mu_x.add_(1.)
    assert same_as_afresh(model, clip)
    assert not torch.equal(model(clip), first)
    model.load_state_dict(other.state_dict())
    other.backend = model.backend
    assert torch.equal(model(clip), other(clip))
    model.load_state_dict(other.half().float().state_dict(), assign=True)
    assert same_as_afresh(model, clip)
    for p in model.parameters():  # an averaged model's, as MMEngine swaps
        p.data.mul_(0.5)
    model.eval()
    assert same_as_afresh(model, clip)
    for p in model.parameters():
        p.data = 2 * p.data
    assert same_as_afresh(model, clip)


@torch.no_grad()
def test_a_module_of_the_same_kind_in_place_of_another(model: LCR) -> None:
    clip = draw_clip(1, 2)
    first = model(clip)
    model.layers[1].output = nn.Linear(16, 16, bias=False)
    assert same_as_afresh(model, clip)
    assert not torch.equal(model(clip), first)


@torch.no_grad()
def test_executors_follow_the_normalization(model: LCR) -> None:
    clip = torch.randint(256, (1, 4, 2, 20, 16), dtype=torch.uint8)
    model.normalize = Normalize(torch.full((4, ), 100.), torch.full((4, ), 9.))
    first = model(clip)
    model.normalize.mean.fill_(50.)
    assert same_as_afresh(model, clip)
    assert not torch.equal(model(clip), first)
    model.normalize = Normalize(torch.full((4, ), 80.), torch.full((4, ), 9.))
    assert same_as_afresh(model, clip)


@torch.no_grad()
def test_several_input_sizes_are_cached(model: LCR) -> None:
    clips = [draw_clip(1, 1, height, 16) for height in (16, 20, 24)]
    for clip in clips:
        model(clip)
    entries = {**model.executors.entries}
    assert len(entries) == len(clips)
    for clip in clips * 2:
        model(clip)
    assert model.executors.entries == entries
    for height in range(4, 4 * MAX_ENTRIES + 8, 4):
        model(draw_clip(1, 1, height, 16))
    assert len(model.executors.entries) == MAX_ENTRIES


@torch.no_grad()
def test_copies_begin_without_executors(model: LCR) -> None:
    clip = draw_clip(1, 2)
    first = model(clip)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not made.executors.entries and model.executors.entries
        assert torch.equal(made(clip), first)
        made.layers[0].mu_x.add_(1.)
        assert torch.equal(model(clip), first)
