# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR on a GPU."""
from typing import Callable

import pytest
import torch

from mmlcr.models import LCR

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device')

# float32 products of a GPU, TF32 off, summed in another order
TOLERANCE = 1e-5
# change of the scores by half precision
HALF_TOLERANCE = 0.1
SIZE = dict(embed_dims=32, num_heads=2, num_layers=3, patch_size=4)


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions have it by default, unlike products."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def draw_clip() -> torch.Tensor:
    return torch.randn(2, 4, 5, 20, 16)


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
def test_gpu_is_cpu(masked: bool, redraw: Callable,
                    relative_error: Callable) -> None:
    model, clip = redraw(LCR(**SIZE)), draw_clip()
    mask = None
    if masked:
        mask = torch.zeros(2, 5, 4, dtype=torch.bool)
        mask[:, ::2] = True
    results = []
    for device in ('cpu', 'cuda'):
        model.to(device).zero_grad()
        feature = model(
            clip.to(device), None if mask is None else mask.to(device))
        feature.square().sum().backward()
        results.append([feature.detach().cpu()] +
                       [p.grad.cpu().clone() for p in model.parameters()])
    for expected, got in zip(*results):
        assert relative_error(got, expected) < TOLERANCE


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_half_keeps_the_state_in_float32(dtype: torch.dtype, redraw: Callable,
                                         relative_error: Callable) -> None:
    model, clip = redraw(LCR(**SIZE)).cuda(), draw_clip().cuda()
    expected = model(clip)
    with torch.autocast('cuda', dtype):
        feature, state = model.forward_frames(clip)
    assert relative_error(feature, expected) < HALF_TOLERANCE
    assert state.layers.h.dtype == state.layers.c.dtype == torch.float32
    feature.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


def test_compiled_step_on_a_gpu(redraw: Callable,
                                relative_error: Callable) -> None:
    model, clip = redraw(LCR(**SIZE)).cuda().eval(), draw_clip().cuda()
    with torch.no_grad():
        expected = model(clip)
        model.backend = 'inductor'
        assert relative_error(model(clip), expected) < TOLERANCE
