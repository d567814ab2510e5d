# Copyright (c) The mmlcr authors. All rights reserved.
"""Readouts of the feature from the tokens of a frame, equation (11)."""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn


class CLSReadout(BaseModule):
    """The paper's readout: the CLS token, which is the last one."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map ``x`` and ``c``, each ``(..., L, D)``, to ``(..., 2D)``."""
        return torch.cat([x[..., -1, :], c[..., -1, :]], dim=-1)


class MeanReadout(BaseModule):
    """The mean of the patch tokens."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map ``x`` and ``c``, each ``(..., L, D)``, to ``(..., 2D)``."""
        return torch.cat(
            [x[..., :-1, :].mean(-2), c[..., :-1, :].mean(-2)], dim=-1)


class AttentionReadout(BaseModule):
    """The CLS token plus an attention-weighted mean of the patch tokens.

    ``feature_n = z_cls,n + sum over l of softmax_l(S_n LN(z_l)) z_ln`` for
    each head ``n`` of the tokens ``z = [x; c]``. ``S`` is learned and starts
    at zero, so that training starts from the plain mean. The state of the CLS
    token does not depend on where in the frame something happened, that of the
    patches does.

    Args:
        channels (int): Width ``2D`` of ``z``.
        num_heads (int): Number of heads, each with its own weights.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.score = nn.Linear(channels, num_heads, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map ``x`` and ``c``, each ``(..., L, D)``, to ``(..., 2D)``."""
        tokens = torch.cat([x, c], dim=-1)
        patches, cls = tokens[..., :-1, :], tokens[..., -1, :]
        weights = self.score(self.norm(patches)).softmax(-2)  # (..., L-1, n)
        heads = patches.unflatten(-1, (self.num_heads, -1))
        return cls + (weights[..., None] * heads).sum(-3).flatten(-2)


def build_readout(kind: str, channels: int, num_heads: int) -> BaseModule:
    """Build the readout by its name in the config.

    Args:
        kind (str): ``'cls'``, ``'mean'`` or ``'attention'``.
        channels (int): Width ``2D`` of the feature.
        num_heads (int): Heads of the attention.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind == 'cls':
        return CLSReadout()
    if kind == 'mean':
        return MeanReadout()
    if kind == 'attention':
        return AttentionReadout(channels, num_heads)
    raise ValueError("readout must be 'cls', 'mean' or 'attention', got "
                     f'{kind!r}')
