# Copyright (c) The mmlcr authors. All rights reserved.
"""Split tokens into chunks, and sum over chunks, for :mod:`.bi_wkv`.

Shapes: a frame has ``N`` chunks of ``C`` tokens, a batch ``G = B H N`` chunks.
Leading dimensions ``...`` are layers, if any.
"""
from typing import Optional, Sequence

import torch
from torch import Tensor

from .write_out import write_out


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a @ b`` for equal batch dimensions, with less overhead."""
    product = torch.bmm(a.flatten(0, -3), b.flatten(0, -3))
    return product.view(*a.shape[:-1], b.shape[-1])


def to_chunks(x: Tensor,
              size: int,
              factors: Optional[Tensor] = None) -> Tensor:
    """Split ``(..., B, L, H, K)`` into chunks ``(..., G, C, K)``.

    The last chunk is padded with zeros. With factors ``(..., H, C, F, K)``,
    the result is the product with each of them, ``(..., G, C, F K)``.
    """
    *layers, B, L, H, K = x.shape
    x = x.transpose(-3, -2)  # (..., B, H, L, K)
    width = K if factors is None else K * factors.shape[-2]
    chunks = x.new_empty(*layers, B, H, -(-L // size) * size, width)
    if factors is None:
        chunks[..., :L, :] = x
    else:
        x, out = x.unsqueeze(-2), chunks.unflatten(-1, (-1, K))
        full = L - L % size  # tokens in full chunks
        if full:
            write_out(out[..., :full, :, :].unflatten(-3, (-1, size)),
                      torch.mul, x[..., :full, :, :].unflatten(
                          -3, (-1, size)),
                      factors[..., None, :, None, :, :, :])
        if L % size:
            write_out(out[..., full:L, :, :], torch.mul, x[..., full:, :, :],
                      factors[..., None, :, :L - full, :, :])
    chunks[..., L:, :].zero_()
    return chunks.view(*layers, -1, size, width)


def from_chunks(x: Tensor, B: int, L: int, H: int) -> Tensor:
    """Join chunks ``(..., G, C, V)`` to ``(..., B, L, H, V)``."""
    x = x.unflatten(-3, (B, H, -1)).flatten(-3, -2)  # (..., B, H, N C, V)
    return x[..., :L, :].transpose(-3, -2)


def to_chunks_backward(grads: Sequence[Tensor], factors: Tensor, B: int,
                       L: int) -> Tensor:
    """Compute the gradient of :func:`to_chunks` by its input.

    Args:
        grads (Sequence[Tensor]): Gradients of the output, which are summed
            up; each ``(..., G, C, F K)`` for the first ``F`` factors.
        factors (Tensor): Factors, shape ``(..., H, C, *, K)``.
        B (int): Batch size.
        L (int): Number of tokens.
    """
    H, _, _, K = factors.shape[-4:]
    each = factors[..., None, :, None, :, :, :].unbind(-2)
    parts = [(part, factor) for grad in grads for part, factor in zip(
        grad.unflatten(-3, (B, H, -1)).split(K, -1), each)]
    total = parts[0][0] * parts[0][1]
    for part, factor in parts[1:]:
        total.addcmul_(part, factor)
    return from_chunks(total.flatten(-5, -3), B, L, H)


def scan_chunks(sums: Tensor, chunk_decay: Tensor, half_decay: Tensor,
                B: int) -> Tensor:
    """Sum over the chunks after and before each chunk, with decay.

    The first ``K`` rows are summed from the last chunk to the first and become
    the last ``K`` rows of the result, the others in the opposite direction.
    The backward pass is the same function.

    Args:
        sums (Tensor): Sums of each chunk, shape ``(..., G, 2K, V)``.
        chunk_decay (Tensor): Decay over a chunk, shape ``(..., H, K, 1)``.
        half_decay (Tensor): Decay over half a chunk, the same shape.
        B (int): Batch size.

    Returns:
        Tensor: States, shape ``(..., G, 2K, V)``.
    """
    H, K, _ = half_decay.shape[-3:]
    chunk_decay = chunk_decay.unsqueeze(-4)  # (..., 1, H, K, 1)
    half_decay = half_decay.unsqueeze(-4)
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
            own = own * half_decay
            passed = own if passed is None else torch.addcmul(
                own, passed, chunk_decay)
            write_out(new, torch.mul, passed, half_decay)
    return states


def decay_gradient(x: Tensor, B: int, H: int) -> Tensor:
    """Compute the gradient of ``w`` from those of each token's exponents.

    Args:
        x (Tensor): Gradients of the exponents, shape ``(..., G, C, 2K)``. The
            first half counts steps from the start of the chunk, the second
            from its end.
        B (int): Batch size.
        H (int): Number of heads.
    """
    position = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)
    edges = torch.stack([position, position.flip(0)], -1)
    x = x.unflatten(-3, (B, H, -1)).sum((-5, -3))  # (..., H, C, 2K)
    return torch.einsum('...csk,cs->...k', x.unflatten(-1, (2, -1)), edges)
