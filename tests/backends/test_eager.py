# Copyright (c) The mmlcr authors. All rights reserved.
"""The eager backend: layers and frames along the diagonals."""
from typing import Any, Callable

import pytest
import torch
from lcr_cases import (
    FLOAT64_TOLERANCE,
    build,
    draw_clip,
    draw_mask,
    expected_feature,
)
from torch import Tensor

from mmlcr.backends.eager import cross_rwkv, wavefront


@pytest.mark.parametrize('together', [1, 2, 3, 5, 9])
@pytest.mark.parametrize('T', [1, 2, 7], ids=['T1', 'T2', 'T7'])
def test_any_number_of_layers_together(T: int, together: int, redraw: Callable,
                                       relative_error: Callable,
                                       monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    model = build(redraw, torch.float64, num_layers=5)
    clip = draw_clip(1, T, dtype=torch.float64)
    # tokens and width of a frame
    monkeypatch.setattr(wavefront, 'GROUP_ELEMENTS_WITH_GRAD',
                        together * 21 * 16)
    first, state = model.forward_frames(clip)
    expected = expected_feature(model, dict(num_layers=5), clip[0])
    assert relative_error(first[0], expected) < FLOAT64_TOLERANCE
    more, state = model.forward_frames(clip, state)
    assert len(state.layers.h) == 5
    twice = expected_feature(model, dict(num_layers=5),
                             torch.cat([clip, clip], 2)[0])
    assert relative_error(more[0], twice) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('B, T, calls', [(1, 16, 2 * (16 + 3)), (1, 1, 8),
                                         (2, 16, 4 * (16 + 1)), (8, 3, 24)])
def test_number_of_operator_calls(B: int, T: int, calls: int,
                                  redraw: Callable,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers on a diagonal share calls, as samples of a batch do."""
    model, counts = build(redraw, num_layers=8), dict(memory=0, read=0)
    monkeypatch.setattr(wavefront, 'GROUP_ELEMENTS_WITH_GRAD', 4 * 21 * 16)
    for half in counts:
        function = getattr(cross_rwkv, f'bi_wkv_{half}')

        def counted(*args: Any, half: str = half,
                    function: Callable = function) -> Any:
            counts[half] += 1
            return function(*args)

        monkeypatch.setattr(cross_rwkv, f'bi_wkv_{half}', counted)
    model(draw_clip(B, T))
    assert counts == dict(memory=calls, read=calls)


@pytest.mark.parametrize('dropped', [0, 7, 15])
def test_tokens_processed_after_a_mask(dropped: int, redraw: Callable,
                                       monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    """Dropped tokens are not part of the layers' products."""
    model, tokens = build(redraw, num_layers=8), set()
    for name in ('linear', 'add_linear', 'layer_norm', 'bi_wkv_read'):
        function = getattr(cross_rwkv, name)

        def seen(x: Tensor, *args: Any,
                 function: Callable = function) -> Tensor:
            tokens.add(x.shape[2])
            return function(x, *args)

        monkeypatch.setattr(cross_rwkv, name, seen)
    model(draw_clip(), draw_mask(2, 5, 4, dropped))
    assert tokens == {20 - dropped + 1}
