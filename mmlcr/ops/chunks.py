# Copyright (c) The mmlcr authors. All rights reserved.
"""Tokens in chunks, and what passes between chunks, for :mod:`.bi_wkv`.

Shapes: ``N`` chunks of ``C`` tokens make a frame, ``G = B H N`` chunks make
all. ``...`` are layers side by side, or nothing.
"""
from typing import Optional, Sequence

import torch
from torch import Tensor

from .write_out import write_out


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of the same batch dimensions, without its detours."""
    product = torch.bmm(a.flatten(0, -3), b.flatten(0, -3))
    return product.view(*a.shape[:-1], b.shape[-1])


def to_chunks(x: Tensor,
               size: int,
               factors: Optional[Tensor] = None) -> Tensor:
    """``(..., B, L, H, K)`` to ``(..., G, C, K)``, zeros after the end.

    With factors ``(..., H, C, F, K)``, times each of them:
    ``(..., G, C, F K)``.
    """
    *layers, B, L, H, K = x.shape
    x = x.transpose(-3, -2)  # (..., B, H, L, K)
    width = K if factors is None else K * factors.shape[-2]
    chunks = x.new_empty(*layers, B, H, -(-L // size) * size, width)
    if factors is None:
        chunks[..., :L, :] = x
    else:
        x, out = x.unsqueeze(-2), chunks.unflatten(-1, (-1, K))
        whole = L - L % size  # tokens in whole chunks
        if whole:
            write_out(out[..., :whole, :, :].unflatten(-3, (-1, size)),
                      torch.mul, x[..., :whole, :, :].unflatten(
                          -3, (-1, size)),
                      factors[..., None, :, None, :, :, :])
        if L % size:
            write_out(out[..., whole:L, :, :], torch.mul, x[..., whole:, :, :],
                 factors[..., None, :, :L - whole, :, :])
    chunks[..., L:, :].zero_()
    return chunks.view(*layers, -1, size, width)


def from_chunks(x: Tensor, B: int, L: int, H: int) -> Tensor:
    """``(..., G, C, V)`` to ``(..., B, L, H, V)``."""
    x = x.unflatten(-3, (B, H, -1)).flatten(-3, -2)  # (..., B, H, N C, V)
    return x[..., :L, :].transpose(-3, -2)


def undecayed(grads: Sequence[Tensor], factors: Tensor, B: int,
               L: int) -> Tensor:
    """The gradient of :func:`to_chunks`.

    Args:
        grads (Sequence[Tensor]): To be summed up, each ``(..., G, C, F K)``
            for the first ``F`` factors.
        factors (Tensor): Of the tokens.
        B (int): Batch.
        L (int): Tokens.
    """
    H, _, _, K = factors.shape[-4:]
    each = factors[..., None, :, None, :, :, :].unbind(-2)
    parts = [(part, factor) for grad in grads for part, factor in zip(
        grad.unflatten(-3, (B, H, -1)).split(K, -1), each)]
    total = parts[0][0] * parts[0][1]
    for part, factor in parts[1:]:
        total.addcmul_(part, factor)
    return from_chunks(total.flatten(-5, -3), B, L, H)


def pass_on(sums: Tensor, whole: Tensor, half: Tensor, B: int) -> Tensor:
    """Decayed sums over the chunks after and before each chunk.

    The first half of the rows goes from the end to the start and becomes the
    second half, the other the other way: what is passed on of gradients, too.

    Args:
        sums (Tensor): Shape ``(..., G, 2K, V)``.
        whole (Tensor): Decay of a chunk, shape ``(..., H, K, 1)``.
        half (Tensor): Of half a chunk, shape ``(..., H, K, 1)``.
        B (int): Batch.
    """
    H, K, _ = half.shape[-3:]
    whole, half = whole.unsqueeze(-4), half.unsqueeze(-4)  # (..., 1, H, K, 1)
    states = torch.empty_like(sums)
    frames = [t.unflatten(-3, (B, H, -1)) for t in (sums, states)]
    (down, up), (before, after) = (t.split(K, -2) for t in frames)
    for source, target, order in ((up, before, 1), (down, after, -1)):
        # each (..., B, H, K, V)
        sources, targets = ([t.select(-3, n) for n in range(t.shape[-3])]
                            for t in (source, target))
        sources, targets = sources[::order], targets[::order]
        targets[0].zero_()
        passed = None
        for own, new in zip(sources, targets[1:]):
            own = own * half
            passed = own if passed is None else torch.addcmul(
                own, passed, whole)
            write_out(new, torch.mul, passed, half)
    return states


def from_edges(x: Tensor, B: int, H: int) -> Tensor:
    """The gradient of ``w``, given that of each token's exponent.

    Args:
        x (Tensor): Shape ``(..., G, C, 2K)``; of the first half, tokens are
            as many steps from the chunk's start as their place, of the second,
            as many from its end.
        B (int): Batch.
        H (int): Heads.
    """
    place = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)
    edges = torch.stack([place, place.flip(0)], -1)
    x = x.unflatten(-3, (B, H, -1)).sum((-5, -3))  # (..., H, C, 2K)
    return torch.einsum('...csk,cs->...k', x.unflatten(-1, (2, -1)), edges)
