# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token: RWKV-6's, in both directions.

The weight between two tokens is the product of the decays of those strictly
between them (as Vision-RWKV's operator for RWKV-6 has it). With decays that
are made of data, none of them can be relied on: the next token may forget
all. A difference of two sums of log-decays would lose the weak ones that
follow a strong one, and factors above one would overflow. So the only sums
here are of what lies between a token and an edge, and no exponent is positive:

A block of tokens is two halves. Between a token of the first and one of the
second lie those after the one, up to the edge, and those before the other: all
pairs of the two halves are one matrix product of what is decayed to the edge.
Blocks of one token become blocks of two, of four, up to chunks of ``C``; from
chunk to chunk, states of shape ``(K, V)`` hold what was decayed to an edge.

Shapes: ``N`` chunks of ``C`` tokens make a frame; ``...`` are layers, batch
and heads.
"""
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

CHUNK_SIZE = 32  # a power of two


def bi_wkv_tokens(r: Tensor,
                  k: Tensor,
                  v: Tensor,
                  w: Tensor,
                  u: Tensor,
                  chunk_size: int = CHUNK_SIZE) -> Tensor:
    """Bidirectional WKV with a decay per token.

    ``y_l = r_l (diag(u) k_l^T v_l
    + sum_{i != l} diag(exp(sum_{j strictly between} w_j)) k_i^T v_i)``

    Args:
        r (Tensor): Receptance, shape ``(..., B, L, H, K)``.
        k (Tensor): Key, of the same shape.
        v (Tensor): Value, shape ``(..., B, L, H, V)``.
        w (Tensor): Log-decay of each token, ``<= 0``, of the shape of ``r``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        chunk_size (int): ``C``, a power of two. Defaults to ``CHUNK_SIZE``.

    Returns:
        Tensor: Output, shape ``(..., B, L, H, V)``, in float32, or float64
        where ``v`` or ``w`` is.

    Raises:
        ValueError: If the chunk size is no power of two.
    """
    if chunk_size < 1 or chunk_size & (chunk_size - 1):
        raise ValueError(f'chunk_size must be a power of two, got '
                         f'{chunk_size}')
    dtype = torch.promote_types(
        torch.promote_types(v.dtype, w.dtype), torch.float32)
    r, k, v, w, u = (t.to(dtype) for t in (r, k, v, w, u))
    with torch.autocast(r.device.type, enabled=False):
        L = int(r.shape[-3])
        own = (r * k * u[..., None, None, :, :]).sum(-1, keepdim=True)
        r, k, v, w, own = (  # each (..., H, L, K)
            _pad(t.transpose(-3, -2), chunk_size) for t in (r, k, v, w, own))
        y = _read(r, k, v, w, own, min(chunk_size, int(r.shape[-2])))
        return y[..., :L, :].transpose(-3, -2)


def _pad(x: Tensor, chunk_size: int) -> Tensor:
    """To whole chunks, or to one that is a power of two, by zeros."""
    L = int(x.shape[-2])
    size = min(chunk_size, 1 << (L - 1).bit_length())
    return F.pad(x, (0, 0, 0, -L % size))


def _read(r: Tensor, k: Tensor, v: Tensor, w: Tensor, own: Tensor,
          C: int) -> Tensor:
    """The output, of whole chunks, ``(..., L, V)``."""
    # blocks of one token, (..., blocks, 1, K) and (..., blocks, 1, 1)
    r, k, total, score = (t.unsqueeze(-2) for t in (r, k, w, own))
    before = after = torch.zeros_like(total)
    for _ in range(C.bit_length() - 1):
        r_first, r_last = _halves(r)
        k_first, k_last = _halves(k)
        after_first, after_last = _halves(after)
        before_first, before_last = _halves(before)
        to_edge, from_edge = after_first.exp(), before_last.exp()
        ahead = (r_first * to_edge) @ (k_last * from_edge).mT
        back = (r_last * from_edge) @ (k_first * to_edge).mT
        score_first, score_last = _halves(score)
        score = torch.cat([
            torch.cat([score_first, ahead], -1),
            torch.cat([back, score_last], -1)
        ], -2)
        of_first, of_last = _halves(total)
        before = torch.cat([before_first, before_last + of_first], -2)
        after = torch.cat([after_first + of_last, after_last], -2)
        total = of_first + of_last
        r, k = (t.unflatten(-3, (-1, 2)).flatten(-3, -2) for t in (r, k))
    v = v.unflatten(-2, (-1, C))  # (..., N, C, V)
    y = score @ v
    if v.shape[-3] > 1:
        y = y + _of_other_chunks(r, k, v, before.exp(), after.exp(),
                                 total.squeeze(-2))
    return y.flatten(-3, -2)


def _of_other_chunks(r: Tensor, k: Tensor, v: Tensor, before: Tensor,
                     after: Tensor, total: Tensor) -> Tensor:
    """What all tokens read of other chunks, ``(..., N, C, V)``.

    ``before`` and ``after`` are decays from and to the edges of a token's
    chunk, ``total`` is the log-decay of each chunk, ``(..., N, K)``.
    """
    between = _strictly_between(total).exp()
    # a later chunk reads an earlier one
    between = rearrange(between, '... m n k -> ... k m n').tril(-1)
    y = torch.zeros_like(v)
    for k_decay, r_decay, passed in ((after, before, between),
                                     (before, after, between.mT)):
        sums = rearrange((k * k_decay).mT @ v, '... n k v -> ... k n v')
        states = rearrange(passed @ sums, '... k n v -> ... n k v')
        y = y + (r * r_decay) @ states
    return y


def _halves(blocks: Tensor) -> tuple:
    """Every first block, and every second."""
    return blocks[..., 0::2, :, :], blocks[..., 1::2, :, :]


def _strictly_between(w: Tensor) -> Tensor:
    """Sums of what is after ``n`` and before ``m``.

    Args:
        w (Tensor): Shape ``(..., N, K)``.

    Returns:
        Tensor: For ``m`` and ``n < m``, shape ``(..., N, N, K)``; zero for
        all others.
    """
    previous = F.pad(w, (0, 0, 1, -1))  # of m, what comes to it last
    place = torch.arange(w.shape[-2], device=w.device)
    joins = place[:, None] - 1 > place  # after n
    terms = torch.where(joins[..., None], previous[..., None, :], 0.)
    return terms.cumsum(-3)
