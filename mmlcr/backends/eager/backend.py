# Copyright (c) The mmlcr authors. All rights reserved.
"""The backend of :mod:`mmlcr.backends.eager`."""
from typing import Any, Optional

import torch
from torch import Tensor

from mmlcr.backends.base import (
    Backend,
    StackOutput,
    Tokens,
    is_exported,
    is_traced,
    register_backend,
)
from mmlcr.backends.packing import unsupported_by_packing
from mmlcr.layers import Geometry, LayerState, VRWKV6Layer
from mmlcr.ops import TokenLayout
from .cross_rwkv import CrossRWKVWeights
from .spec import StackSpec, Wrap, unwrapped
from .vrwkv6 import VRWKV6Weights
from .wavefront import Wavefront, Weights


def pack(model: Any, num_tokens: int) -> Weights:
    """Stack the weights of all layers of a model."""
    if isinstance(model.layers[0], VRWKV6Layer):
        return VRWKV6Weights.pack(model.layers, num_tokens)
    return CrossRWKVWeights.pack(model.layers, num_tokens)


def stack_spec(model: Any) -> StackSpec:
    """Return the options of a model's layers."""
    layer = model.layers[0]
    return StackSpec(
        layer.cell,
        layer.temporal_shift,
        residual=getattr(layer, 'residual', False),
        post_norm=getattr(layer, 'post_norm', False))


class WavefrontExecutor:
    """Calls the model's stems, and runs the layers in a wavefront."""
    takes_bytes = False

    def __init__(self, model: Any, layers: Wavefront) -> None:
        self.model = model
        self.layers = layers

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor]) -> Tokens:
        """See :class:`mmlcr.backends.Executor`."""
        return self.model.embed(clip, layout, previous)

    def run_layers(self,
                   tokens: Tokens,
                   e_norm_before: Optional[Tensor],
                   state: Optional[LayerState],
                   geometry: Geometry,
                   out: Optional[LayerState] = None) -> StackOutput:
        """See :class:`mmlcr.backends.Executor`; ``out`` is not used."""
        return self.layers(tokens, e_norm_before, state, geometry)


class EagerExecutor(WavefrontExecutor):
    """Prepacks the weights where neither gradients nor a trace need them."""

    def __init__(self,
                 model: Any,
                 num_tokens: int,
                 wrap: Wrap = unwrapped) -> None:
        weights = pack(model, num_tokens)
        with_cp = False
        if torch.is_grad_enabled():
            with_cp = model.with_cp
        elif not is_traced():
            weights = weights.prepack()
        super().__init__(
            model, Wavefront(weights, stack_spec(model), with_cp, wrap))


class EagerBackend(Backend):
    """Runs on any device, in any dtype, in training and inference."""
    name = 'eager'
    priority = 10

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Needs layers that packed weights describe, and no torch.export."""
        if is_exported():
            return 'the chunk size depends on values, unknown to torch.export'
        return unsupported_by_packing(model)

    def build(self, model: Any, num_tokens: int) -> EagerExecutor:
        """Build an executor with packed weights."""
        return EagerExecutor(model, num_tokens)


register_backend(EagerBackend())
