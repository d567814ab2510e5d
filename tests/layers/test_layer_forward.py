# Copyright (c) The mmlcr authors. All rights reserved.
"""A layer can be called on its own: one frame in, tokens and state out."""
import pytest
import torch
from torch import Tensor, nn

from mmlcr.layers import (
    CoupledCell,
    CrossRWKVLayer,
    Geometry,
    LayerState,
    PaperCell,
    Prompt,
    VRWKV6Layer,
)
from mmlcr.ops import TokenLayout, TokenShift, rotary_table

ROWS, COLS, D, H = 3, 4, 24, 2
LAYERS = {
    'cross_rwkv': lambda: CrossRWKVLayer(D, H, 2., True, CoupledCell()),
    'paper': lambda: CrossRWKVLayer(D, H, 4., False, PaperCell()),
    'vrwkv6': lambda: VRWKV6Layer(D, H, 2., True, CoupledCell(), 0.1),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[request.param]()
    for parameter in layer.parameters():  # some start at zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


def read(layer: nn.Module, frames: Tensor) -> Tensor:
    """Run a layer on frames ``(T, B, L, D)``; return outputs and state."""
    layout = TokenLayout(ROWS, COLS)
    geometry = Geometry(
        TokenShift.cached(layout, H, D // H, frames.device),
        rotary_table(layout, D // H, frames.device, torch.float32))
    state, before, outputs = LayerState.zeros(frames[0]), frames[0], []
    for x in frames:
        output, state = layer(x, Prompt(x, x, before), state, geometry)
        before = x
        outputs.append(output)
    assert state.h.dtype == state.c.dtype == torch.float32
    return torch.stack(outputs)


def test_frames_pass_a_layer_by_themselves(layer: nn.Module) -> None:
    frames = torch.randn(3, 2, ROWS * COLS + 1, D)
    outputs = read(layer, frames)
    assert outputs.shape == frames.shape
    assert outputs.isfinite().all()
    changed = frames.clone()
    changed[2] += 1
    assert torch.equal(read(layer, changed)[:2], outputs[:2])
    changed = frames.clone()
    changed[0] += 1
    assert not torch.allclose(read(layer, changed)[2], outputs[2])


def test_hooks_and_replaced_modules_are_part_of_a_layer(
        layer: nn.Module) -> None:
    frames = torch.randn(2, 1, ROWS * COLS + 1, D)
    before = read(layer, frames)
    calls = []
    for module in (layer, layer.norm_x, layer.norm_y, layer.output):
        module.register_forward_hook(lambda m, *args: calls.append(m))
    read(layer, frames)
    assert len(calls) == 4 * len(frames)
    layer.output = nn.Sequential(layer.output, nn.Linear(D, D))
    assert not torch.allclose(read(layer, frames), before)
