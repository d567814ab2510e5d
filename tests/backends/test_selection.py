# Copyright (c) The mmlcr authors. All rights reserved.
"""Selection of backends: never one that bypasses a changed module."""
import logging
from typing import Any, Callable, Iterator

import pytest
import torch
from lcr_cases import FLOAT64_TOLERANCE, build, draw_clip
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from mmlcr.backends import (
    Backend,
    backend_names,
    register_backend,
    select_backend,
    unregister_backend,
)
from mmlcr.backends.module import ModuleBackend, ModuleExecutor
from mmlcr.models import LCR


def hook(module: nn.Module) -> None:
    module.register_forward_hook(lambda m, args, output: output**2)


def pre_hook(module: nn.Module) -> None:
    module.register_forward_pre_hook(lambda m, args: (args[0]**2, *args[1:]))


def set_eps(module: nn.Module) -> None:
    module.eps = 1.


def own_forward(module: nn.Module) -> None:
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)


def add_bias(module: nn.Module) -> None:
    module.bias = nn.Parameter(torch.ones(len(module.weight)))


# changes of modules
CHANGES = {
    'hook-norm': ('layers.0.norm_x', hook),
    'hook-output': ('layers.1.output', hook),
    'hook-gate': ('layers.1.forget', hook),
    'hook-cell': ('layers.0.cell', hook),
    'hook-stem': ('stem', hook),
    'hook-projection': ('stem.projection', hook),
    'hook-zero-conv': ('zero_conv', hook),
    'hook-norm-e': ('norm_e', hook),
    'pre-hook': ('layers.1.norm_y', pre_hook),
    'eps': ('layers.0.norm_a', set_eps),
    'eps-stem': ('norm_e', set_eps),
    'forward': ('layers.0.value', own_forward),
    'bias': ('layers.0.key_value', add_bias),
    'weight-norm':
    ('layers.0.output',
     lambda m: setattr(parametrizations.weight_norm(m).parametrizations.weight,
                       'training', False)),
    'prune':
    ('layers.0.output', lambda m: prune.l1_unstructured(m, 'weight', 0.5)),
}
IN_LAYERS = [name for name, (where, _) in CHANGES.items() if 'layers' in where]


@pytest.mark.parametrize('name', CHANGES)
@torch.no_grad()
def test_auto_computes_what_changed_modules_say(name: str, redraw: Callable,
                                                relative_error: Callable
                                                ) -> None:
    model, clip = build(redraw, cell='coupled'), draw_clip(1, 2)
    before = model(clip)
    where, change = CHANGES[name]
    change(model.get_submodule(where))
    model.backend = 'module'
    expected = model(clip)
    if name != 'weight-norm':  # which alone changes nothing
        assert relative_error(expected, before) > 1e-3
    model.backend = 'auto'
    assert relative_error(model(clip), expected) < 2e-6


@pytest.mark.parametrize('name', IN_LAYERS)
def test_packed_backends_refuse_changed_layers(name: str, redraw: Callable,
                                               caplog: Any) -> None:
    model, clip = build(redraw, cell='coupled'), draw_clip(1, 2)
    where, change = CHANGES[name]
    change(model.get_submodule(where))
    backend, reasons = select_backend(model, clip)
    assert backend.name == 'module'
    assert f'eager: {where}' in reasons
    with caplog.at_level(logging.WARNING, 'mmlcr'):
        model(clip)
        model(clip)
    assert len(caplog.records) == 1
    assert "LCR runs by backend 'module'" in caplog.text
    assert where in caplog.text
    for model.backend in ('eager', 'inductor', 'onnx'):
        with pytest.raises(ValueError, match=where):
            model(clip)


def test_hooks_on_all_modules(redraw: Callable) -> None:
    model, names = build(redraw), []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *args: names.append(type(module).__name__))
    try:
        model(draw_clip(1, 1))
    finally:
        handle.remove()
    assert names.count('CrossRWKVLayer') == len(model.layers)


def test_layers_with_options_of_their_own(redraw: Callable,
                                          relative_error: Callable) -> None:
    model = build(redraw, torch.float64)
    clip = draw_clip(1, 2, dtype=torch.float64)
    model.layers[1].residual = True
    assert select_backend(model, clip)[0].name == 'module'
    assert model(clip).isfinite().all()


class Doubled(ModuleExecutor):

    def embed(self, *args: Any) -> Any:
        return super().embed(*args)


class Outside(Backend):
    """A backend of another package, which uses only the public interface."""
    name = 'outside'
    priority = 100

    def unsupported(self, model: Any, clip: Tensor) -> Any:
        return 'more than one clip' if len(clip) > 1 else None

    def build(self, model: Any, num_tokens: int) -> Doubled:
        self.built = num_tokens
        return Doubled(model)


@pytest.fixture
def outside() -> Iterator[Outside]:
    backend = Outside()
    register_backend(backend)
    yield backend
    unregister_backend('outside')


def test_a_backend_from_outside_joins_by_its_name(outside: Outside,
                                                  redraw: Callable,
                                                  relative_error: Callable
                                                  ) -> None:
    assert backend_names()[0] == 'outside'
    model = build(redraw, torch.float64)
    clip = draw_clip(1, 3, dtype=torch.float64)
    expected = build(lambda m: m, torch.float64, backend='eager')
    expected.load_state_dict(model.state_dict())
    with torch.no_grad():
        feature = model(clip)
        assert outside.built == 21
        error = relative_error(feature, expected(clip))
        assert error < FLOAT64_TOLERANCE
        assert select_backend(model, draw_clip())[0] is not outside
    with pytest.raises(ValueError, match="already a backend 'outside'"):
        register_backend(Outside())


def test_names_of_backends() -> None:
    with pytest.raises(ValueError, match="'auto', 'numba'.*got 'fast'"):
        LCR(backend='fast')
    with pytest.raises(ValueError, match="already a backend 'auto'"):
        register_backend(type('Auto', (ModuleBackend, ), dict(name='auto'))())
