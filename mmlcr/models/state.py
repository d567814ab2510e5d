# Copyright (c) The mmlcr authors. All rights reserved.
"""What LCR carries from a frame to the next."""
from typing import Any, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from mmlcr.layers import LayerState


class LCRState(NamedTuple):
    """The state of ``B`` streams after a frame.

    It may hold several windows of the same streams, which began at different
    frames: one after the other along the batch, ``(m * B, ...)``.
    """
    layers: LayerState  # of all layers, (num_layers, m * B, L, D)
    prompt: Optional[Tensor]  # (m * B, L, D), normed, for its difference
    frame: Optional[Tensor]  # (B, 4, height, width), for its difference
    windows: int = 1  # m

    def state_norms(self) -> Tuple[Tensor, Tensor]:
        """How much each patch remembers: ``|h|`` and ``|c|``.

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
            other (LCRState): Of the same streams.
            out (LayerState, optional): Memory for the layers of the result,
                apart from that of both states. Defaults to None: new memory.
        """

        def joined(mine: Any, others: Any, dim: int, out: Any) -> Any:
            if mine is None:
                return None
            return torch.cat([mine, others], dim, out=out)

        outs = out or (None, ) * len(self.layers)
        layers = [
            joined(mine, others, 1, t)
            for mine, others, t in zip(self.layers, other.layers, outs)
        ]
        return self._replace(
            layers=LayerState(*layers),
            prompt=joined(self.prompt, other.prompt, 0, None),
            windows=self.windows + other.windows)

    def drop_oldest(self, out: Optional[LayerState] = None) -> 'LCRState':
        """All windows but the oldest; ``out`` as of :meth:`join`."""

        def rest(mine: Any, dim: int, out: Any) -> Any:
            if mine is None:
                return None
            B = mine.shape[dim] // self.windows
            mine = mine.narrow(dim, B, mine.shape[dim] - B)
            return mine.clone() if out is None else out.copy_(mine)

        outs = out or (None, ) * len(self.layers)
        layers = [rest(mine, 1, t) for mine, t in zip(self.layers, outs)]
        return self._replace(
            layers=LayerState(*layers),
            prompt=rest(self.prompt, 0, None),
            windows=self.windows - 1)
