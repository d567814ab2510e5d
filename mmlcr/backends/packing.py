# Copyright (c) The mmlcr authors. All rights reserved.
"""Check whether packed weights compute the same as the modules of a model.

An executor that reads ``module.weight`` bypasses the module. That is correct
only if the module has exactly the original type, with nothing attached to it:
no hook, adapter, parametrization, pruning, quantization, own ``forward`` or
additional bias, and with the default ``eps`` of norms.
"""
from typing import Any, Optional, Tuple

from torch import nn
from torch.nn.modules import module as torch_module

from mmlcr.layers import (
    CoupledCell,
    CrossRWKVLayer,
    PaperCell,
    PatchProjection,
    PatchStem,
    VRWKV6Layer,
)
from mmlcr.ops.batched import NORM_EPS

NORMS = nn.LayerNorm, nn.GroupNorm
LEAVES = frozenset({
    nn.Linear, nn.LayerNorm, nn.GroupNorm, nn.Conv2d, nn.Identity, CoupledCell,
    PaperCell, PatchProjection
})
PARENTS = frozenset({CrossRWKVLayer, VRWKV6Layer, PatchStem})
# used by FlopCounterMode; its hooks only record names
TRACKER = 'torch.utils.module_tracker'
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks',
         '_backward_pre_hooks')


def unsupported_by_packing(model: Any) -> Optional[str]:
    """Return why packed weights do not describe the layers of a model.

    Returns:
        str, optional: The module and the reason; None if packed weights
        describe all layers.
    """
    if _global_hooks():
        return 'hooks on all modules'
    kind = type(model.layers[0])
    for i, layer in enumerate(model.layers):
        if type(layer) is not kind:
            return (f'layers.{i} is a {type(layer).__name__}, layers.0 a '
                    f'{kind.__name__}')
        reason = _unsupported(layer) or _different_options(
            layer, model.layers[0])
        if reason:
            return f'layers.{i}{reason}'
    return None


def unsupported_parts(model: Any, names: Tuple[str, ...]) -> Optional[str]:
    """Like :func:`unsupported_by_packing`, for other modules of the model."""
    for name in names:
        part = getattr(model, name)
        reason = None if part is None else _unsupported(part)
        if reason:
            return f'{name}{reason}'
    return None


def _global_hooks() -> bool:
    """Whether there are global module hooks that may have an effect."""
    return any(
        getattr(hook, '__module__', '') != TRACKER
        for hooks in (torch_module._global_forward_hooks,
                      torch_module._global_forward_pre_hooks,
                      torch_module._global_backward_hooks,
                      torch_module._global_backward_pre_hooks)
        for hook in hooks.values())


def _unsupported(module: nn.Module) -> Optional[str]:
    """Return what packed weights ignore in a module or its children."""
    kind = type(module)
    if kind not in LEAVES and kind not in PARENTS:
        return f' is a {kind.__module__}.{kind.__name__}'
    state = module.__dict__
    for hooks in HOOKS:
        if state[hooks]:
            return f' has {hooks.strip("_").replace("_", " ")}'
    if 'forward' in state:
        return ' has a forward of its own'
    if kind in PARENTS:
        for name, child in state['_modules'].items():
            reason = None if child is None else _unsupported(child)
            if reason:
                return f'.{name}{reason}'
        return _unexpected_bias(module)
    if isinstance(module, NORMS) and not _plain_norm(module):
        return f' has eps={module.eps}, or no weight or bias'
    return None


def _plain_norm(norm: Any) -> bool:
    return (norm.eps == NORM_EPS and norm.weight is not None
            and norm.bias is not None)


def _unexpected_bias(parent: nn.Module) -> Optional[str]:
    """Check that among linear layers only the forget gate has a bias."""
    for name, child in parent._modules.items():
        if type(child) is nn.Linear and (child.bias is None) == (
                name == 'forget'):
            return f'.{name} has {"no" if name == "forget" else "a"} bias'
    return None


def _different_options(layer: Any, first: Any) -> Optional[str]:
    """Check that a layer has the options of the first one."""
    for name in ('temporal_shift', 'residual', 'post_norm'):
        if getattr(layer, name, None) != getattr(first, name, None):
            return f' has another {name} than layers.0'
    if (type(layer.cell) is not type(first.cell) or getattr(
            layer.cell, 'bound', None) != getattr(first.cell, 'bound', None)):
        return ' has another cell than layers.0'
    if layer.norm_y.num_groups != layer.bonus.shape[0]:
        return '.norm_y has another number of groups than there are heads'
    return None
