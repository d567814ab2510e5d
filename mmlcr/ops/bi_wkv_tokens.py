# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token: RWKV-6's, in both directions.

The weight between two tokens is the product of the decays of the tokens
strictly between them, as in Vision-RWKV's operator for RWKV-6. These decays
depend on data and can be arbitrarily strong. A difference of two cumulative
sums of log-decays would lose the weak ones after a strong one, and factors
above one could overflow. Therefore all sums here are between a token and an
edge, and no exponent is positive:

A block of tokens has two halves. The tokens between one of the first half and
one of the second are those from the former up to the edge between the halves,
and those from there up to the latter. So all pairs across the edge are one
matrix product of factors that are decayed to the edge. Blocks of one token are
merged to blocks of two, of four, and so on up to chunks of ``C``. Between
chunks, states of shape ``(K, V)`` are decayed from edge to edge.

Shapes: a frame has ``N`` chunks of ``C`` tokens; ``...`` are layers, batch and
heads.
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
        k (Tensor): Key, shape ``(..., B, L, H, K)``.
        v (Tensor): Value, shape ``(..., B, L, H, V)``.
        w (Tensor): Log-decay of each token, ``<= 0``, of the shape of ``r``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        chunk_size (int): ``C``, a power of two. Defaults to ``CHUNK_SIZE``.

    Returns:
        Tensor: Output, shape ``(..., B, L, H, V)``, in float32, or in float64
        if ``v`` or ``w`` is.

    Raises:
        ValueError: If the chunk size is not a power of two.
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
    """Pad ``(..., L, K)`` with zeros to full chunks, or to a power of two."""
    L = int(x.shape[-2])
    size = min(chunk_size, 1 << (L - 1).bit_length())
    return F.pad(x, (0, 0, 0, -L % size))


def _read(r: Tensor, k: Tensor, v: Tensor, w: Tensor, own: Tensor,
          C: int) -> Tensor:
    """Compute the output ``(..., L, V)`` for full chunks of ``C`` tokens."""
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
        total_first, total_last = _halves(total)
        before = torch.cat([before_first, before_last + total_first], -2)
        after = torch.cat([after_first + total_last, after_last], -2)
        total = total_first + total_last
        r, k = (t.unflatten(-3, (-1, 2)).flatten(-3, -2) for t in (r, k))
    v = v.unflatten(-2, (-1, C))  # (..., N, C, V)
    y = score @ v
    if v.shape[-3] > 1:
        y = y + _read_other_chunks(r, k, v, before.exp(), after.exp(),
                                   total.squeeze(-2))
    return y.flatten(-3, -2)


def _read_other_chunks(r: Tensor, k: Tensor, v: Tensor, before: Tensor,
                       after: Tensor, total: Tensor) -> Tensor:
    """Compute the contribution of other chunks, ``(..., N, C, V)``.

    ``before`` and ``after`` are the decays between a token and the edges of
    its chunk, ``total`` is the log-decay of each chunk, ``(..., N, K)``.
    """
    between = _strictly_between(total).exp()
    # from earlier to later chunks
    between = rearrange(between, '... m n k -> ... k m n').tril(-1)
    y = torch.zeros_like(v)
    for k_decay, r_decay, passed in ((after, before, between),
                                     (before, after, between.mT)):
        sums = rearrange((k * k_decay).mT @ v, '... n k v -> ... k n v')
        states = rearrange(passed @ sums, '... k n v -> ... n k v')
        y = y + (r * r_decay) @ states
    return y


def _halves(blocks: Tensor) -> tuple:
    """Split pairs of blocks into the first and the second ones."""
    return blocks[..., 0::2, :, :], blocks[..., 1::2, :, :]


def _strictly_between(w: Tensor) -> Tensor:
    """Sum log-decays over the chunks strictly between ``n`` and ``m``.

    Args:
        w (Tensor): Log-decay of each chunk, shape ``(..., N, K)``.

    Returns:
        Tensor: Sums for ``m`` and ``n < m``, shape ``(..., N, N, K)``; zero
        elsewhere.
    """
    previous = F.pad(w, (0, 0, 1, -1))  # the chunk before m
    position = torch.arange(w.shape[-2], device=w.device)
    joins = position[:, None] - 1 > position  # that chunk comes after n
    terms = torch.where(joins[..., None], previous[..., None, :], 0.)
    return terms.cumsum(-3)
