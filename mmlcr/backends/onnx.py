# Copyright (c) The mmlcr authors. All rights reserved.
"""A step in operations that can be exported, for a batch of any size.

It is not selected for running a model: what :mod:`mmlcr.deploy.onnx_step`
exports is run by onnxruntime.
"""
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from mmlcr.layers import Geometry, LayerState
from mmlcr.ops import TokenLayout, TokenShift
from .base import Backend, StackOutput, Tokens, register_backend
from .eager import Wavefront
from .eager.backend import pack, stack_spec
from .packing import unknown_to_packing


class BatchShift(NamedTuple):
    """The shift for a batch of any size, some of it at its first frame."""
    gather: Tensor
    mask: Tensor
    first: Tensor  # (B, ), bool

    def neighbours(self, frames: int) -> 'BatchShift':
        """The same for any number of frames."""
        return self

    def shift(self, x: Tensor) -> Tensor:
        """As :meth:`mmlcr.ops.Neighbours.shift`, like all methods here."""
        pieces = x.reshape(*x.shape[:2], len(self.gather), -1)
        shifted = pieces.index_select(2, self.gather).reshape(x.shape)
        return shifted * self.mask

    def difference(self, x: Tensor, before: Tensor) -> Tensor:
        """Zero for streams without a frame before."""
        first = self.first[:, None, None]
        return torch.where(first, torch.zeros_like(x), x - before)

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Each token with its neighbours, eq.

        (3).
        """
        return torch.lerp(x, self.shift(x), mu[:, None, None])

    def mix_and_difference(self, x: Tensor, mu: Tensor,
                           before: Tensor) -> Tensor:
        """Both shifts side by side."""
        return torch.cat([self.mix(x, mu), self.difference(x, before)], -1)


class OnnxExecutor:
    """Packed layers, as :class:`mmlcr.backends.EagerExecutor`."""
    takes_bytes = False

    def __init__(self, model: Any, num_tokens: int) -> None:
        self.model = model
        self.layers = Wavefront(pack(model, num_tokens), stack_spec(model))

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
        """See :class:`mmlcr.backends.Executor`."""
        return self.layers(tokens, e_norm_before, state, geometry)

    def run_step(self, tokens: Tokens, e_norm_before: Optional[Tensor],
                 state: LayerState, geometry: Geometry,
                 first: Tensor) -> StackOutput:
        """One frame of each stream, some of them at their first.

        Args:
            tokens (Tokens): As of :meth:`run_layers`, of one frame.
            e_norm_before (Tensor, optional): Likewise.
            state (LayerState): Zero for streams at their first frame.
            geometry (Geometry): Where the tokens sit.
            first (Tensor): Bool, ``(B, )``: which streams these are.
        """
        shift: TokenShift = geometry.shift
        plain: Any = BatchShift(shift.index, shift.mask, first)
        return self.layers(tokens, e_norm_before, state,
                           geometry._replace(shift=plain))


class OnnxBackend(Backend):
    """What is exported, run by PyTorch."""
    name = 'onnx'
    priority = -2

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Layers that packed weights do not describe."""
        return unknown_to_packing(model)

    def build(self, model: Any, num_tokens: int) -> OnnxExecutor:
        """An executor with packed weights."""
        return OnnxExecutor(model, num_tokens)


register_backend(OnnxBackend())
