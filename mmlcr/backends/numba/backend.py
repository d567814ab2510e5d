# Copyright (c) The mmlcr authors. All rights reserved.
"""The backend of :mod:`mmlcr.backends.numba`."""
import functools
import importlib
import time
from typing import Any, Dict, Optional

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from mmlcr.backends.base import (
    Backend,
    StackOutput,
    Tokens,
    is_traced,
    register_backend,
)
from mmlcr.backends.eager.backend import stack_spec
from mmlcr.backends.packing import unsupported_by_packing, unsupported_parts
from mmlcr.layers import (
    CrossRWKVLayer,
    Geometry,
    LayerState,
    PatchStem,
    VRWKV6Layer,
)
from mmlcr.ops import TokenLayout

# With Numba 0.57, threads that share a clip's layers compute wrong states.
# Versions in between are not tested.
OLDEST_NUMBA = (0, 68)
STEM_PARTS = 'stem', 'edge_stem', 'zero_conv', 'norm_0', 'norm_e'


@functools.lru_cache(maxsize=None)
def missing_requirement() -> Optional[str]:
    """Return the missing or unsuitable requirement; None if all are met."""
    try:
        import numba
        if numba.version_info[:2] < OLDEST_NUMBA:
            oldest = '.'.join(map(str, OLDEST_NUMBA))
            return f'Numba {numba.__version__} is older than {oldest}'
        # requires OpenMP: other threading layers start kernels too slowly
        importlib.import_module('numba.np.ufunc.omppool')
        importlib.import_module('mmlcr.backends.numba.layers')
    except ImportError as error:
        return str(error)
    return None


def compile_kernels() -> Dict[str, float]:
    """Compile all kernels that are not stored, where Numba can be used.

    Returns:
        dict[str, float]: The seconds that it took for each type of layer.
    """
    seconds: Dict[str, float] = {}
    if missing_requirement() is None:
        from . import warmup
        for kind in warmup.KINDS:
            start = time.monotonic()
            warmup.compile_kernels(kind)
            seconds[kind] = time.monotonic() - start
    return seconds


class NumbaExecutor:
    """Runs the layers, and patch stems, with compiled kernels."""

    def __init__(self, model: Any, num_tokens: int) -> None:
        from .layers import pack_layers
        from .stem import NumbaStem
        self.model = model
        self.layers = pack_layers(model.layers, num_tokens, stack_spec(model))
        self.stem: Any = None
        if (isinstance(model.stem, PatchStem) and model.stem_input == 'frame'
                and unsupported_parts(model, STEM_PARTS) is None):
            self.stem = NumbaStem(model.stem, model.edge_stem,
                                  model.zero_conv, model.position,
                                  model.cls_token, model.norm_e,
                                  model.norm_0, model.normalize)

    @property
    def takes_bytes(self) -> bool:
        """Whether the kernels of the stem can be used."""
        return (self.stem is not None
                and unsupported_parts(self.model, STEM_PARTS) is None)

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor]) -> Tokens:
        """See :class:`mmlcr.backends.Executor`."""
        if self.takes_bytes:
            return self.stem(clip, layout)
        return self.model.embed(clip, layout, previous)

    def run_layers(self,
                   tokens: Tokens,
                   e_norm_before: Optional[Tensor],
                   state: Optional[LayerState],
                   geometry: Geometry,
                   out: Optional[LayerState] = None) -> StackOutput:
        """See :class:`mmlcr.backends.Executor`."""
        return self.layers(tokens, e_norm_before, state, geometry, out)


class NumbaBackend(Backend):
    """Runs layers in float32 on a CPU, without gradients.

    The kernels are invisible to tracers, compilers and counters of operations,
    so it is unsupported under these.
    """
    name = 'numba'
    priority = 20

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Needs such layers, dtypes and devices, no gradients or tracing.

        Unless the model names this backend, it also needs kernels that are
        compiled already, and starts to compile them in the background.
        """
        if type(model.layers[0]) not in (CrossRWKVLayer, VRWKV6Layer):
            return f'no kernels for {type(model.layers[0]).__name__}'
        if torch.is_grad_enabled():
            return 'gradients are enabled'
        if clip.device.type != 'cpu':
            return f'the clip is on {clip.device}'
        if torch.is_autocast_enabled('cpu'):
            return 'autocast is enabled'
        for what, tensor in (('the clip', clip), ('the model',
                                                  model.cls_token)):
            if tensor.dtype not in (torch.float32, torch.uint8):
                return f'{what} is {tensor.dtype}'
        if (type(clip) is not Tensor or is_traced()
                or _get_current_dispatch_mode() is not None):
            return 'operations are traced'
        reason = unsupported_by_packing(model) or missing_requirement()
        if reason or model.backend == self.name:
            return reason
        from .warmup import pending
        return pending(type(model.layers[0]).__name__)

    def build(self, model: Any, num_tokens: int) -> NumbaExecutor:
        """Build an executor with weights in the layout of the kernels."""
        return NumbaExecutor(model, num_tokens)


register_backend(NumbaBackend())
