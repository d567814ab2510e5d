# Copyright (c) The mmlcr authors. All rights reserved.
"""Third-party tools for modules work with LCR.

Adapters, pruning, quantization, hooks, export and copies are those of the real
libraries. After each, ``backend='auto'`` has to compute what the modules say:
by ``'module'``, where packed weights do not say it.
"""
import copy
import io
import logging
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import torch
from lcr_cases import draw_clip
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.backends import select_backend
from mmlcr.models import LCR

ROOT = Path(__file__).resolve().parents[2]
SMALL = dict(embed_dims=24, num_heads=2, num_layers=2, patch_size=4)
LAYERS: Dict[str, dict] = {
    'cross_rwkv': {},
    'vrwkv6': dict(layer=dict(type='VRWKV6Layer'), rotary=False)
}
# float32 rounding, where another backend computes the same
SAME = 1e-5
# rounding to 11 bits, in norm
HALF_ERROR = 3e-3
# less than this is no difference between two outputs
DIFFERENT = 1e-3


@pytest.fixture(params=LAYERS)
def model(request: pytest.FixtureRequest, redraw: Callable) -> LCR:
    """A small LCR with either type of layers, all weights random."""
    return redraw(LCR(**SMALL, **LAYERS[request.param])).eval()


@pytest.fixture
def clip() -> Tensor:
    return draw_clip()


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch,
           caplog: pytest.LogCaptureFixture) -> None:
    """Log to the logger 'mmlcr', as without a run."""
    monkeypatch.setattr('mmengine.logging.MMLogger._instance_dict', {})
    caplog.set_level(logging.INFO, 'mmlcr')


def infer(model: nn.Module, clip: Tensor) -> Tensor:
    with torch.no_grad():
        return model(clip)


def backend_of(model: LCR, clip: Tensor) -> str:
    """Return the backend that 'auto' selects for inference."""
    with torch.no_grad():
        return select_backend(model, clip)[0].name


def assert_by_modules(model: LCR, clip: Tensor,
                      caplog: pytest.LogCaptureFixture) -> None:
    """Check that 'auto' selects 'module', logs it once, and equals it."""
    feature = infer(model, clip)
    infer(model, clip)
    lines = [
        record.getMessage() for record in caplog.records
        if record.name == 'mmlcr' and "'module'" in record.getMessage()
    ]
    assert len(lines) == 1, lines
    assert backend_of(model, clip) == 'module'
    reference = copy.deepcopy(model)
    reference.backend = 'module'
    assert torch.equal(infer(reference, clip), feature)


# ---- adapters, pruning, quantization


def lora(model: LCR) -> Any:
    """LCR with random LoRA adapters on all linear modules of its layers."""
    peft = pytest.importorskip(
        'peft', reason='needs peft', exc_type=ImportError)
    names = [
        f'layers.{name}' for name, module in model.layers.named_modules()
        if isinstance(module, nn.Linear)
    ]
    assert len(names) >= 10
    config = peft.LoraConfig(
        r=3, lora_alpha=6, target_modules=names, init_lora_weights=False)
    return peft.get_peft_model(model, config)


def test_lora_changes_the_output(model: LCR, clip: Tensor,
                                 caplog: pytest.LogCaptureFixture) -> None:
    before = infer(model, clip)
    adapted = lora(model).eval()
    after = infer(adapted, clip)
    assert (after - before).norm() > DIFFERENT * before.norm()
    assert_by_modules(model, clip, caplog)
    with adapted.disable_adapter():
        torch.testing.assert_close(
            infer(adapted, clip), before, rtol=SAME, atol=SAME)


def test_lora_adapters_train(model: LCR, clip: Tensor) -> None:
    """Only the adapters get gradients."""
    adapted = lora(model).train()
    target = torch.randn(2, 48)
    before = {k: v.clone() for k, v in adapted.state_dict().items()}
    trained = {k for k, v in adapted.named_parameters() if v.requires_grad}
    assert trained and all('lora_' in name for name in trained)
    optimizer = torch.optim.Adam(
        [p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(5):
        loss = (adapted(clip) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    changed = {
        name
        for name, weight in adapted.state_dict().items()
        if not torch.equal(weight, before[name])
    }
    assert changed == trained


def test_merged_lora_gives_the_same(model: LCR, clip: Tensor) -> None:
    fast = backend_of(model, clip)
    adapted = lora(model).eval()
    feature = infer(adapted, clip)
    merged = adapted.merge_and_unload()
    assert type(merged) is LCR
    assert backend_of(merged, clip) == fast
    torch.testing.assert_close(
        infer(merged, clip), feature, rtol=SAME, atol=SAME)


@pytest.mark.filterwarnings('ignore:torch.ao:DeprecationWarning',
                            'ignore:torch.quantize_per:UserWarning')
def test_dynamic_quantization(model: LCR, clip: Tensor,
                              caplog: pytest.LogCaptureFixture) -> None:
    feature = infer(model, clip)
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    kinds = [type(module) for module in quantized.layers.modules()]
    assert nn.Linear not in kinds
    found = infer(quantized, clip)
    error = (found - feature).norm() / feature.norm()
    assert 0 < error < 0.2
    assert_by_modules(quantized, clip, caplog)


def test_weight_norm(model: LCR, clip: Tensor,
                     caplog: pytest.LogCaptureFixture) -> None:
    before = infer(model, clip)
    parametrizations.weight_norm(model.layers[1].output)
    torch.testing.assert_close(
        infer(model, clip), before, rtol=SAME, atol=SAME)
    magnitude = model.layers[1].output.parametrizations.weight.original0
    with torch.no_grad():
        magnitude.mul_(2)
    after = infer(model, clip)
    assert (after - before).norm() > DIFFERENT * before.norm()
    assert_by_modules(model, clip, caplog)
    model.train()(clip).square().sum().backward()
    assert magnitude.grad.any()


def test_pruning(model: LCR, clip: Tensor,
                 caplog: pytest.LogCaptureFixture) -> None:
    before, fast = infer(model, clip), backend_of(model, clip)
    linear = model.layers[0].output
    prune.l1_unstructured(linear, 'weight', amount=0.5)
    pruned = infer(model, clip)
    assert (pruned - before).norm() > DIFFERENT * before.norm()
    assert_by_modules(model, clip, caplog)
    # the mask is applied whenever the module is called
    with torch.no_grad():
        linear.weight_orig.mul_(3)
    assert not torch.equal(infer(model, clip), pruned)
    with torch.no_grad():
        linear.weight_orig.div_(3)
    prune.remove(linear, 'weight')
    assert (linear.weight == 0).float().mean() == 0.5
    assert backend_of(model, clip) == fast
    torch.testing.assert_close(
        infer(model, clip), pruned, rtol=SAME, atol=SAME)


# ---- hooks and modules of one's own


@pytest.mark.parametrize(
    'path', ['layers.1', 'layers.0.norm_h', 'layers.0.output', 'stem',
             'norm_e'])
def test_forward_hooks_fire(path: str, model: LCR, clip: Tensor,
                            caplog: pytest.LogCaptureFixture) -> None:
    before, fast = infer(model, clip), backend_of(model, clip)
    module, calls = model.get_submodule(path), []
    handle = module.register_forward_hook(
        lambda module, inputs, output: calls.append(output))
    feature = infer(model, clip)
    # a layer runs once per frame; the stem may run once for all frames
    assert len(calls) == (clip.shape[2] if 'layers' in path else len(calls))
    assert calls
    torch.testing.assert_close(feature, before, rtol=SAME, atol=SAME)
    if 'layers' in path:
        assert_by_modules(model, clip, caplog)
    calls.clear()
    handle.remove()
    assert torch.equal(infer(model, clip), before) and not calls
    assert backend_of(model, clip) == fast


@pytest.mark.parametrize('path', ['layers.0.output', 'stem', 'norm_e'])
def test_what_a_hook_returns_counts(path: str, model: LCR,
                                    clip: Tensor) -> None:
    before = infer(model, clip)
    model.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: output.flip(-1))
    after = infer(model, clip)
    assert (after - before).norm() > DIFFERENT * before.norm()


def test_hooks_on_all_modules_fire(model: LCR, clip: Tensor) -> None:
    infer(model, clip)
    seen: List[nn.Module] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.append(module))
    try:
        infer(model, clip)
    finally:
        handle.remove()
    assert {*model.layers, model.layers[0].output, model.stem} <= {*seen}


def test_backward_hooks_fire(model: LCR, clip: Tensor) -> None:
    calls: List[Any] = []
    model.layers[0].output.register_full_backward_hook(
        lambda module, inputs, outputs: calls.append(outputs))
    model.train()(clip).sum().backward()
    assert len(calls) == clip.shape[2]


def test_a_replaced_module_counts(model: LCR, clip: Tensor,
                                  caplog: pytest.LogCaptureFixture) -> None:
    before = infer(model, clip)
    model.layers[1].output = nn.Sequential(model.layers[1].output,
                                           nn.Linear(24, 24))
    after = infer(model, clip)
    assert (after - before).norm() > DIFFERENT * before.norm()
    assert_by_modules(model, clip, caplog)


@pytest.mark.parametrize('path', ['layers.0.norm_h', 'layers.0.norm_y',
                                  'norm_e'])
def test_settings_of_a_norm_count(path: str, model: LCR,
                                  clip: Tensor) -> None:
    before = infer(model, clip)
    model.get_submodule(path).eps = 1e6
    after = infer(model, clip)
    assert (after - before).norm() > DIFFERENT * before.norm()


# ---- copies, precision, export


def duplicates() -> Iterator[Any]:
    """Ways to make a second model of one."""

    def saved(model: nn.Module) -> nn.Module:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    yield pytest.param(copy.deepcopy, id='deepcopy')
    yield pytest.param(lambda m: pickle.loads(pickle.dumps(m)), id='pickle')
    yield pytest.param(saved, id='torch.save')


@pytest.mark.parametrize('duplicate', [*duplicates()])
def test_copies_are_of_their_own(duplicate: Callable, model: LCR,
                                 clip: Tensor) -> None:
    """Also after inference has cached packed weights."""
    feature = infer(model, clip)
    other = duplicate(model)
    assert torch.equal(infer(other, clip), feature)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)
    changed = infer(other, clip)
    assert (changed - feature).norm() > DIFFERENT * feature.norm()
    assert torch.equal(infer(model, clip), feature)
    _, state = model.forward_step(clip[:, :, 0])
    _, same = duplicate(model).forward_step(clip[:, :, 0], None)
    assert torch.equal(state.layers.c, same.layers.c)


def test_double_is_exact(model: LCR, clip: Tensor,
                         relative_error: Callable) -> None:
    single = infer(model, clip)
    double = infer(model.double(), clip.double())
    assert double.dtype == torch.float64
    assert relative_error(single, double) < SAME
    model.backend = 'module'
    assert relative_error(infer(model, clip.double()), double) < 1e-11


@pytest.mark.parametrize('dtype, tolerance', [
    (torch.float16, HALF_ERROR), (torch.bfloat16, 8 * HALF_ERROR)
], ids=['float16', 'bfloat16'])
def test_half_is_near_and_reversible(dtype: torch.dtype, tolerance: float,
                                     model: LCR, clip: Tensor,
                                     relative_error: Callable) -> None:
    """Matrices are half; all that rounding would spoil stays in float32."""
    single = infer(model, clip)
    model.to(dtype)
    for module in model.modules():
        is_matrix = isinstance(module, (nn.Linear, nn.Conv2d))
        for weight in module.parameters(recurse=False):
            assert weight.dtype == (dtype if is_matrix else torch.float32)
    for inputs in (clip, clip.to(dtype)):
        feature = infer(model, inputs)
        assert feature.dtype == dtype
        assert relative_error(feature.float(), single) < tolerance
    _, state = model.forward_step(clip[:, :, 0].to(dtype))
    assert state.layers.c.dtype == torch.float32
    rounded = infer(model.float(), clip)
    assert rounded.dtype == torch.float32
    assert relative_error(rounded, single) < tolerance


def test_gradients_of_half_weights_convert_with_them(model: LCR,
                                                     clip: Tensor) -> None:
    model(clip).sum().backward()
    model.to(torch.bfloat16)
    for parameter in model.parameters():
        assert parameter.grad is None or (
            parameter.grad.dtype == parameter.dtype)
    model.zero_grad()
    model(clip).sum().backward()
    assert model.layers[0].output.weight.grad.dtype == torch.bfloat16
    assert model.cls_token.grad.dtype == torch.float32


def test_a_recognizer_in_half_precision(clip: Tensor) -> None:
    """Head and normalization, too."""
    config = Config.fromfile(ROOT / 'configs/lcr_motion.py')
    recognizer = MODELS.build(config.model).eval()
    data = dict(
        inputs=[torch.randint(0, 256, (1, 4, 8, 48, 48), dtype=torch.uint8)],
        data_samples=[ActionDataSample()])
    with torch.no_grad():
        exact = recognizer.test_step(data)[0].pred_score
        scores = recognizer.half().test_step(data)[0].pred_score
    assert recognizer.cls_head.fc_cls.weight.dtype == torch.float16
    torch.testing.assert_close(scores, exact, atol=2e-3, rtol=0)


@pytest.mark.parametrize('backend', ['auto', 'module'])
def test_export_of_a_step(backend: str, model: LCR, clip: Tensor) -> None:
    model.backend = backend

    class Step(nn.Module):

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, frame: Tensor, state: Any) -> Any:
            return self.model.forward_step(frame, state)

    with torch.no_grad():
        _, state = model.forward_step(clip[:, :, 0])
        exported = torch.export.export(Step(), (clip[:, :, 1], state))
        run = exported.module()
        for frame in clip[:, :, 1:].unbind(2):
            expected, after = model.forward_step(frame, state)
            feature, state = run(frame, state)
            torch.testing.assert_close(
                feature, expected, rtol=SAME, atol=SAME)
            torch.testing.assert_close(
                state.layers.c, after.layers.c, rtol=SAME, atol=SAME)
