# Copyright (c) The mmlcr authors. All rights reserved.
"""The inductor backend: steps in one graph, the same results."""
from typing import Callable

import pytest
import torch
from lcr_cases import FLOAT64_TOLERANCE, OPTIONS, build, draw_clip

from mmlcr.backends.inductor import find_compiler


@pytest.mark.skipif(find_compiler() is None, reason='needs a C++ compiler')
@pytest.mark.parametrize('train', [
    pytest.param(False, marks=pytest.mark.long), True], ids=['test', 'train'])
@pytest.mark.parametrize('name, graphs', [('default', 3), ('vrwkv6', 2)])
def test_compiled_step_is_the_same_in_one_graph(name: str, graphs: int,
                                                train: bool, redraw: Callable,
                                                relative_error: Callable
                                                ) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name], num_layers=1)
    clip = draw_clip(1, 2, dtype=torch.float64)
    counters = torch._dynamo.utils.counters
    counters.clear()
    results = []
    for model.backend in ('eager', 'inductor'):
        with torch.set_grad_enabled(train):
            _, state = model.forward_step(clip[:, :, 0])
            feature, _ = model.forward_step(clip[:, :, 1], state)
        results.append([feature])
        if train:
            feature.square().sum().backward()
            results[-1] += [p.grad for p in model.parameters()]
            model.zero_grad()
    for eager, compiled in zip(*results):
        if eager.norm() == 0:
            assert compiled.norm() < FLOAT64_TOLERANCE
        else:
            assert relative_error(compiled, eager) < FLOAT64_TOLERANCE
    assert counters['graph_break'] == {}
    # projection, and step of the first and of a later frame; or a whole layer
    assert counters['stats']['unique_graphs'] == graphs


def test_without_a_compiler_there_is_an_error(
        redraw: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(redraw, backend='inductor')
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(ValueError, match=r"'inductor'.*C\+\+ compiler"):
        model(draw_clip(1, 1))
    model.backend = 'auto'
    assert model(draw_clip(1, 1)).isfinite().all()
