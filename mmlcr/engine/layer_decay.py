# Copyright (c) The mmlcr authors. All rights reserved.
"""Layer-wise decay of the learning rate, by the names of LCR's parameters.

This is the only module of :mod:`mmlcr.engine` that depends on LCR.
"""
import re
from typing import Any, List

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

LAYER = re.compile(r'(?:backbone\.)?layers\.(\d+)\.')
# parameters before the layers: stems, tokens, positions, and their norms
BEFORE = re.compile(r'(?:backbone\.)?(stem|edge_stem|zero_conv|cls_token|'
                    r'position|norm_0|norm_e)\b')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise decay of the learning rate, for LCR.

    As in BEiT (arXiv 2106.08254), layer ``i`` of ``n`` layers (from zero) has
    the learning rate times ``layer_decay ** (n - i)``. For parameters before
    the layers, the factor is ``layer_decay ** (n + 1)``, for readout and head
    it is one. Pretrained weights near the pixels thus change least.

    Args:
        optim_wrapper_cfg (dict): The argument of
            ``DefaultOptimWrapperConstructor``.
        paramwise_cfg (dict): The argument of
            ``DefaultOptimWrapperConstructor``, with the additional key
            ``layer_decay`` in ``(0, 1]``.

    Raises:
        ValueError: If ``layer_decay`` is missing or out of range, or the
            model has no layers.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict) -> None:
        others = dict(paramwise_cfg or {})
        self.layer_decay = others.pop('layer_decay', None)
        if self.layer_decay is None or not 0 < self.layer_decay <= 1:
            raise ValueError('paramwise_cfg needs a layer_decay in (0, 1], '
                             f'got {self.layer_decay}')
        # without any of its options, the base class makes a single group
        others.setdefault('bias_lr_mult', 1.)
        super().__init__(optim_wrapper_cfg, others)

    def add_params(self,
                   params: List[dict],
                   module: nn.Module,
                   prefix: str = '',
                   is_dcn_module: Any = None) -> None:
        """Make a group for each parameter, with its decayed learning rate."""
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:
            return  # a submodule; the model itself is added last
        names = {id(p): name for name, p in module.named_parameters()}
        found = [LAYER.match(name) for name in names.values()]
        numbers = [int(layer[1]) for layer in found if layer]
        if not numbers:
            raise ValueError(f'{type(module).__name__} has no layers')
        n = 1 + max(numbers)
        for group in params:
            name = names[id(group['params'][0])]
            below = n - _layer(name, n)
            rate = group.get('lr', self.base_lr)
            group['lr'] = rate * self.layer_decay**below


def _layer(name: str, n: int) -> int:
    """Return the layer of a parameter; -1 before all, ``n`` after them."""
    layer = LAYER.match(name)
    if layer:
        return int(layer[1])
    return -1 if BEFORE.match(name) else n
