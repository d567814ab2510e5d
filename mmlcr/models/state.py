# Copyright (c) The mmlcr authors. All rights reserved.
"""The state of LCR between two frames."""
from typing import Any, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from mmlcr.layers import LayerState


class LCRState(NamedTuple):
    """The state of ``B`` streams after a frame.

    It may have several windows of the same streams, which started at different
    frames. They are concatenated along the batch, ``(m * B, ...)``.
    """
    layers: LayerState  # of all layers, (num_layers, m * B, L, D)
    prompt: Optional[Tensor]  # (m * B, L, D), e_norm, for its difference
    frame: Optional[Tensor]  # (B, 4, height, width), for its difference
    windows: int = 1  # number of windows m

    def state_norms(self) -> Tuple[Tensor, Tensor]:
        """Compute the norms of each patch's states, ``|h|`` and ``|c|``.

        Returns:
            tuple[Tensor, Tensor]: Norms over the channels of the patch tokens
            of the oldest window, each of shape ``(num_layers, B, L - 1)``.
        """
        B = self.layers.h.shape[1] // self.windows
        hidden, cell = (
            torch.linalg.vector_norm(t[:, :B, :-1], dim=-1)
            for t in self.layers[:2])
        return hidden, cell

    def join(self,
             other: 'LCRState',
             out: Optional[LayerState] = None) -> 'LCRState':
        """Append the windows of another state after the same frame.

        Args:
            other (LCRState): State of the same streams.
            out (LayerState, optional): Buffers for the layers of the result,
                which must not overlap with either state. Defaults to None:
                they are allocated.
        """

        def cat(a: Any, b: Any, dim: int, out: Any) -> Any:
            return None if a is None else torch.cat([a, b], dim, out=out)

        outs = out or (None, ) * len(self.layers)
        layers = [
            cat(a, b, 1, t)
            for a, b, t in zip(self.layers, other.layers, outs)
        ]
        return self._replace(
            layers=LayerState(*layers),
            prompt=cat(self.prompt, other.prompt, 0, None),
            windows=self.windows + other.windows)

    def drop_oldest(self, out: Optional[LayerState] = None) -> 'LCRState':
        """Return all windows but the oldest; for ``out``, see :meth:`join`."""

        def drop(tensor: Any, dim: int, out: Any) -> Any:
            if tensor is None:
                return None
            B = tensor.shape[dim] // self.windows
            tensor = tensor.narrow(dim, B, tensor.shape[dim] - B)
            return tensor.clone() if out is None else out.copy_(tensor)

        outs = out or (None, ) * len(self.layers)
        layers = [drop(tensor, 1, t) for tensor, t in zip(self.layers, outs)]
        return self._replace(
            layers=LayerState(*layers),
            prompt=drop(self.prompt, 0, None),
            windows=self.windows - 1)
