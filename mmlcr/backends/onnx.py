# Copyright (c) The mmlcr authors. All rights reserved.
"""One step in operations that can be exported, for any batch size.

It is not meant for running models: :mod:`mmlcr.deploy.onnx_step` exports it,
and onnxruntime runs the export.
"""
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from mmlcr.layers import Geometry, LayerState
from mmlcr.ops import TokenShift
from .base import Backend, StackOutput, Tokens, register_backend
from .eager import Wavefront
from .eager.backend import WavefrontExecutor, pack, stack_spec
from .packing import unsupported_by_packing


class BatchShift(NamedTuple):
    """Token shift for any batch size; some streams are at their first frame.

    Its methods are those of :class:`mmlcr.ops.Neighbours`.
    """
    gather: Tensor
    mask: Tensor
    first: Tensor  # (B, ), bool

    def neighbours(self, frames: int) -> 'BatchShift':
        """Return itself, for any number of frames."""
        return self

    def shift(self, x: Tensor) -> Tensor:
        """Shift tokens ``(n, B, L, D)``."""
        pieces = x.reshape(*x.shape[:2], len(self.gather), -1)
        shifted = pieces.index_select(2, self.gather).reshape(x.shape)
        return shifted * self.mask

    def difference(self, x: Tensor, before: Tensor) -> Tensor:
        """Compute the difference in time; zero for streams at first frames."""
        first = self.first[:, None, None]
        return torch.where(first, torch.zeros_like(x), x - before)

    def mix(self, x: Tensor, mu: Tensor) -> Tensor:
        """Mix each token with its neighbours, equation (3)."""
        return torch.lerp(x, self.shift(x), mu[:, None, None])

    def mix_and_difference(self, x: Tensor, mu: Tensor,
                           before: Tensor) -> Tensor:
        """Concatenate the mix and the difference."""
        return torch.cat([self.mix(x, mu), self.difference(x, before)], -1)


class OnnxExecutor(WavefrontExecutor):
    """Runs packed layers, and one step of streams of any number."""

    def __init__(self, model: Any, num_tokens: int) -> None:
        super().__init__(
            model, Wavefront(pack(model, num_tokens), stack_spec(model)))

    def run_step(self, tokens: Tokens, e_norm_before: Optional[Tensor],
                 state: LayerState, geometry: Geometry,
                 first: Tensor) -> StackOutput:
        """Process one frame of each stream.

        Args:
            tokens (Tokens): Tokens of one frame, see :meth:`run_layers`.
            e_norm_before (Tensor, optional): See :meth:`run_layers`.
            state (LayerState): State, zero for streams at their first frame.
            geometry (Geometry): Positions of the tokens.
            first (Tensor): Bool, ``(B, )``, True for streams at their first
                frame.
        """
        shift: TokenShift = geometry.shift
        plain: Any = BatchShift(shift.index, shift.mask, first)
        return self.layers(tokens, e_norm_before, state,
                           geometry._replace(shift=plain))


class OnnxBackend(Backend):
    """The exported operations, run by PyTorch; used by tests."""
    name = 'onnx'
    priority = -2

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Needs layers that packed weights describe."""
        return unsupported_by_packing(model)

    def build(self, model: Any, num_tokens: int) -> OnnxExecutor:
        """Build an executor with packed weights."""
        return OnnxExecutor(model, num_tokens)


register_backend(OnnxBackend())
