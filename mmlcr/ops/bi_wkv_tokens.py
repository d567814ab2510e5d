# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token, in chunks: RWKV-6's, in both directions.

The weight between two tokens is the product of the decays of those strictly
between them (as Vision-RWKV's operator for RWKV-6 has it). With decays that
are made of data, none of them can be relied on: the next token may forget
all. Hence only sums of log-decays between two places are taken, each as a sum
of its own. A difference of two longer sums would lose the weak decays that
follow a strong one, and factors above one would overflow; here no exponent is
positive. That takes a table of ``(C, C, K)`` for a chunk of ``C`` tokens, so
that chunks are shorter than those of :mod:`mmlcr.ops.bi_wkv`.

Shapes: ``N`` chunks of ``C`` tokens make a frame; ``...`` are layers, batch
and heads.
"""
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_SIZE = 16


def bi_wkv_tokens(r: Tensor,
                  k: Tensor,
                  v: Tensor,
                  w: Tensor,
                  u: Tensor,
                  chunk_size: int = CHUNK_SIZE) -> Tensor:
    """Bidirectional WKV with a decay per token.

    ``y_l = r_l (diag(u) k_l^T v_l
    + sum_{i != l} diag(exp(sum_{j strictly between} w_j)) k_i^T v_i)``

    Where gradients are wanted, the tables are made again for them.

    Args:
        r (Tensor): Receptance, shape ``(..., B, L, H, K)``.
        k (Tensor): Key, of the same shape.
        v (Tensor): Value, shape ``(..., B, L, H, V)``.
        w (Tensor): Log-decay of each token, ``<= 0``, of the shape of ``r``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        chunk_size (int): ``C``. Defaults to ``CHUNK_SIZE``.

    Returns:
        Tensor: Output, shape ``(..., B, L, H, V)``, in float32, or float64
        where ``v`` or ``w`` is.
    """
    dtype = torch.promote_types(
        torch.promote_types(v.dtype, w.dtype), torch.float32)
    tensors = [t.to(dtype) for t in (r, k, v, w, u)]
    with torch.autocast(r.device.type, enabled=False):
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return checkpoint(
                _bi_wkv_tokens,
                *tensors,
                chunk_size,
                use_reentrant=False,
                preserve_rng_state=False)
        return _bi_wkv_tokens(*tensors, chunk_size)


def _bi_wkv_tokens(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor,
                   C: int) -> Tensor:
    L = r.shape[-3]
    C = min(C, L)
    own = (r * k * u[..., None, None, :, :]).sum(-1)  # (..., B, L, H)
    y = rearrange(own, '... l h -> ... h l 1') * v.transpose(-3, -2)
    r, k, v_, w = (_to_chunks(t, C) for t in (r, k, v, w))  # (.., H, N, C, K)

    between = _strictly_between(w).exp()  # (..., N, C, C, K)
    asking, asked = (  # of a later token, by it
        torch.einsum('...lk,...lik,...ik->...li', a, between, b).tril(-1)
        for a, b in ((r, k), (k, r)))
    within = (asking + asked.mT) @ v_  # (..., N, C, V)

    if L > C:
        before = F.pad(w, (0, 0, 1, -1)).cumsum(-2)  # (..., N, C, K)
        after = F.pad(w.flip(-2), (0, 0, 1, -1)).cumsum(-2).flip(-2)
        before, after = before.exp(), after.exp()
        of_chunks = _strictly_between(w.sum(-2)).exp()  # (..., N, N, K)
        of_chunks = rearrange(of_chunks, '... m n k -> ... k m n').tril(-1)
        for key, read, passed in ((after, before, of_chunks),
                                  (before, after, of_chunks.mT)):
            sums = (k * key).mT @ v_  # (..., N, K, V)
            sums = rearrange(sums, '... n k v -> ... k n v')
            states = rearrange(passed @ sums, '... k n v -> ... n k v')
            within = within + (r * read) @ states
    y = y + within.flatten(-3, -2)[..., :L, :]
    return y.transpose(-3, -2)


def _to_chunks(x: Tensor, size: int) -> Tensor:
    """``(..., L, H, K)`` to ``(..., H, N, C, K)``, zeros after the end."""
    x = x.transpose(-3, -2)
    x = F.pad(x, (0, 0, 0, -x.shape[-2] % size))
    return x.unflatten(-2, (-1, size))


def _strictly_between(w: Tensor) -> Tensor:
    """Sums of what is after token ``i`` and before token ``l``.

    Args:
        w (Tensor): Shape ``(..., C, K)``.

    Returns:
        Tensor: For ``l`` and ``i < l``, shape ``(..., C, C, K)``; zero for
        all others.
    """
    C = w.shape[-2]
    previous = F.pad(w, (0, 0, 1, -1))  # of l, what comes to it last
    place = torch.arange(C, device=w.device)
    joins = place[:, None] - 1 > place  # after i
    terms = torch.where(joins[..., None], previous[..., None, :], 0.)
    return terms.cumsum(-3)
