# Copyright (c) The mmlcr authors. All rights reserved.
import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmlcr.engine import cpu_has_bfloat16


def test_autocasts_the_forward_pass_and_steps_in_float32() -> None:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='CPUAmpOptimWrapper', optimizer=optimizer))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        y = model(torch.randn(2, 4))
    assert y.dtype == torch.bfloat16
    assert model(torch.randn(2, 4)).dtype == torch.float32
    wrapper.update_params(y.float().square().sum())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize('capabilities, expected', [
    (dict(avx2=True, avx512_f=True, avx512_bf16=False), False),
    (dict(avx2=True, avx512_bf16=True), True),
    (dict(avx2=True, amx_bf16=True), True),
    (dict(architecture='aarch64', neon=True, bf16=False), False),
    (dict(architecture='aarch64', neon=True, bf16=True), True),
], ids=str)
def test_processors_with_bfloat16(capabilities: dict, expected: bool,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, 'get_capabilities', lambda: capabilities, raising=False)
    assert cpu_has_bfloat16() is expected
