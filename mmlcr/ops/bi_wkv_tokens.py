# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV with a decay per token: RWKV-6's, in both directions.

The weight between two tokens is the product of the decays of the tokens
strictly between them, as in Vision-RWKV's operator for RWKV-6. These decays
depend on data and can be arbitrarily strong. A difference of two cumulative
sums of log-decays would lose the weak ones after a strong one, and factors
above one could overflow. Therefore all products here are of the decays between
a token and an edge, and none is above one:

A block of tokens has two halves. The tokens between one of the first half and
one of the second are those from the former up to the edge between the halves,
and those from there up to the latter. So all pairs across the edge are one
matrix product of factors that are decayed to the edge. Blocks of one token are
merged to blocks of two, of four, and so on up to chunks of ``C``. Between
chunks, states of shape ``(K, V)`` are decayed from edge to edge.

Shapes: a frame has ``N`` chunks of ``C`` tokens; ``...`` are layers, batch and
heads.
"""
from typing import Any, Iterator, List, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

# A power of two. Larger chunks have more pairs of tokens, and fewer states
# that pass between chunks; most frames are one chunk.
CHUNK_SIZE = 256


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
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        read = _Read.apply if torch.is_grad_enabled() and not traced else _read
        y = read(r, k, v, w, own, min(chunk_size, int(r.shape[-2])))
        return y[..., :L, :].transpose(-3, -2)


def _pad(x: Tensor, chunk_size: int) -> Tensor:
    """Pad ``(..., L, K)`` with zeros to full chunks, or to a power of two."""
    L = int(x.shape[-2])
    size = min(chunk_size, 1 << (L - 1).bit_length())
    return F.pad(x, (0, 0, 0, -L % size))


class _Read(torch.autograd.Function):
    """Computes the output for full chunks, :func:`_read`.

    The backward pass is explicit: recorded, each of the many small operations
    would keep its inputs, and each slice would have a gradient of full size.
    """

    @staticmethod
    def forward(ctx: Any, r: Tensor, k: Tensor, v: Tensor, w: Tensor,
                own: Tensor, C: int) -> Tensor:
        decays = _chunk_decays(w, C)
        score = _scores(r, k, own, decays)
        ctx.save_for_backward(r, k, v, w, score)
        return _apply_scores(score, r, k, v, decays)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        r, k, v, w, score = ctx.saved_tensors
        C = score.shape[-1]
        decays = _chunk_decays(w, C)
        grad, v_chunks = (t.unflatten(-2, (-1, C)) for t in (grad, v))
        grad_score = grad @ v_chunks.mT
        grad_v = score.mT @ grad
        grad_r, grad_k, grad_w = (torch.zeros_like(t) for t in (r, k, w))
        for level in decays.levels:
            _level_backward(level, grad_score, (r, k),
                            (grad_r, grad_k, grad_w))
        if v_chunks.shape[-3] > 1:
            grad_v += _other_chunks_backward(
                r, k, v_chunks, decays, grad, (grad_r, grad_k, grad_w))
        own = grad_score.diagonal(dim1=-2, dim2=-1)[..., None]
        return (grad_r, grad_k, grad_v.flatten(-3, -2), grad_w,
                own.flatten(-3, -2), None)


def _read(r: Tensor, k: Tensor, v: Tensor, w: Tensor, own: Tensor,
          C: int) -> Tensor:
    """Compute the output ``(..., L, V)`` for full chunks of ``C`` tokens."""
    decays = _chunk_decays(w, C)
    return _apply_scores(_scores(r, k, own, decays), r, k, v, decays)


class Level(NamedTuple):
    """Decays to the edges between pairs of blocks of ``b`` tokens."""
    to_edge: Tensor  # from each token of the first, (..., blocks, b, K)
    from_edge: Tensor  # up to each token of the second, the same shape


class ChunkDecays(NamedTuple):
    """Decays within chunks, and of chunks."""
    levels: List[Level]  # for blocks of 1, 2, ..., C / 2 tokens
    before: Tensor  # decay from the chunk's start, (..., N, C, K)
    after: Tensor  # decay up to the chunk's end
    total: Tensor  # log-decay of the chunk, (..., N, K)


def _chunk_decays(w: Tensor, C: int) -> ChunkDecays:
    """Multiply the decays of ``(..., L, K)`` up to the edges of blocks."""
    total = w.exp().unsqueeze(-2)  # blocks of one token, (..., blocks, 1, K)
    before = after = torch.ones_like(total)
    levels = []
    for _ in range(C.bit_length() - 1):
        after_first, after_last = _halves(after)
        before_first, before_last = _halves(before)
        total_first, total_last = _halves(total)
        levels.append(Level(after_first, before_last))
        before = torch.cat([before_first, before_last * total_first], -2)
        after = torch.cat([after_first * total_last, after_last], -2)
        total = total_first * total_last
    return ChunkDecays(levels, before, after,
                       w.unflatten(-2, (-1, C)).sum(-2))


def _scores(r: Tensor, k: Tensor, own: Tensor,
            decays: ChunkDecays) -> Tensor:
    """Compute the weights of the values in each chunk, ``(..., N, C, C)``."""
    score = own.unsqueeze(-2)
    for to_edge, from_edge in decays.levels:
        r_first, r_last = _blocks(r, to_edge)
        k_first, k_last = _blocks(k, to_edge)
        ahead = (r_first * to_edge) @ (k_last * from_edge).mT
        back = (r_last * from_edge) @ (k_first * to_edge).mT
        score_first, score_last = _halves(score)
        score = torch.cat([
            torch.cat([score_first, ahead], -1),
            torch.cat([back, score_last], -1)
        ], -2)
    return score


def _apply_scores(score: Tensor, r: Tensor, k: Tensor, v: Tensor,
                  decays: ChunkDecays) -> Tensor:
    """Compute the output ``(..., L, V)`` from the scores of each chunk."""
    v = v.unflatten(-2, (-1, score.shape[-1]))  # (..., N, C, V)
    y = score @ v
    if v.shape[-3] > 1:
        r, k = (t.unflatten(-2, (-1, score.shape[-1])) for t in (r, k))
        for k_decay, r_decay, passed in _directions(decays):
            states = _states((k * k_decay).mT @ v, passed)
            y = y + (r * r_decay) @ states
    return y.flatten(-3, -2)


def _directions(
        decays: ChunkDecays) -> Iterator[Tuple[Tensor, Tensor, Tensor]]:
    """Return the decays between chunks, to later and to earlier ones.

    Each is the decay of keys to an edge, ``(..., N, C, K)``, that of
    receptances from an edge, and that of the chunks strictly between, from
    chunk ``n`` to ``m``, ``(..., K, m, n)``.
    """
    between = _strictly_between(decays.total).exp()
    between = rearrange(between, '... m n k -> ... k m n').tril(-1)
    yield decays.after, decays.before, between
    yield decays.before, decays.after, between.mT


def _states(sums: Tensor, passed: Tensor) -> Tensor:
    """Sum over other chunks: ``(..., N, K, V)`` of each, with decays."""
    sums = rearrange(sums, '... n k v -> ... k n v')
    return rearrange(passed @ sums, '... k n v -> ... n k v')


Grads = Tuple[Tensor, Tensor, Tensor]  # of r, k and w, each (..., L, K)


def _level_backward(level: Level, grad_score: Tensor,
                    inputs: Tuple[Tensor, Tensor], grads: Grads) -> None:
    """Add the gradients of the products across the edges of a level."""
    to_edge, from_edge = level
    size = to_edge.shape[-2]
    # (..., N, blocks, 2, size, 2, size), of rows and columns
    blocks = grad_score.unflatten(-1, (-1, 2, size)).unflatten(
        -4, (-1, 2, size))
    blocks = blocks.diagonal(dim1=-6, dim2=-3).movedim(-1, -5)
    blocks = blocks.flatten(-6, -5)  # (..., blocks, 2, size, 2, size)
    ahead, back = blocks[..., 0, :, 1, :], blocks[..., 1, :, 0, :]
    (r_first, r_last), (k_first, k_last) = (
        _blocks(t, to_edge) for t in inputs)
    (grad_r_first, grad_r_last), (grad_k_first, grad_k_last), (
        grad_w_first, grad_w_last) = (_blocks(t, to_edge) for t in grads)

    # gradients of the decayed receptances and keys, times the decay
    r_ahead = ahead @ (k_last * from_edge) * to_edge
    k_ahead = ahead.mT @ (r_first * to_edge) * from_edge
    r_back = back @ (k_first * to_edge) * from_edge
    k_back = back.mT @ (r_last * from_edge) * to_edge
    grad_r_first += r_ahead
    grad_k_last += k_ahead
    grad_r_last += r_back
    grad_k_first += k_back
    if size > 1:
        # a decay to the edge is that of all later tokens
        exponent = r_first * r_ahead + k_first * k_back
        grad_w_first[..., 1:, :] += exponent[..., :-1, :].cumsum(-2)
        exponent = r_last * r_back + k_last * k_ahead
        grad_w_last[..., :-1, :] += _reverse_cumsum(exponent[..., 1:, :])


def _other_chunks_backward(r: Tensor, k: Tensor, v: Tensor,
                           decays: ChunkDecays, grad: Tensor,
                           grads: Grads) -> Tensor:
    """Add the gradients of what passes between chunks; return that of v."""
    C = v.shape[-2]
    r, k, grad_r, grad_k, grad_w = (
        t.unflatten(-2, (-1, C)) for t in (r, k, *grads))
    grad_v = torch.zeros_like(v)
    grad_between = torch.zeros(())
    exponents = []  # of the decays to or from the chunk's end, and its start
    for k_decay, r_decay, passed in _directions(decays):
        decayed_k, decayed_r = k * k_decay, r * r_decay
        sums = decayed_k.mT @ v
        states = _states(sums, passed)
        read = grad @ states.mT * r_decay
        grad_states = decayed_r.mT @ grad
        grad_sums = _states(grad_states, passed.mT)
        summed = v @ grad_sums.mT * k_decay
        grad_v += decayed_k @ grad_sums
        grad_r += read
        grad_k += summed
        exponents.append((k * summed, r * read))
        grad_passed = rearrange(
            grad_states, '... n k v -> ... k n v') @ rearrange(
                sums, '... n k v -> ... k v n')
        grad_passed = grad_passed * passed
        grad_between = grad_between + (
            grad_passed if len(exponents) == 1 else grad_passed.mT)
    after = exponents[0][0] + exponents[1][1]
    before = exponents[0][1] + exponents[1][0]
    grad_w[..., 1:, :] += after[..., :-1, :].cumsum(-2)
    grad_w[..., :-1, :] += _reverse_cumsum(before[..., 1:, :])
    grad_w += _over_chunks(grad_between)[..., None, :]
    return grad_v


def _over_chunks(grad: Tensor) -> Tensor:
    """Sum gradients ``(..., K, m, n)`` over the pairs around each chunk.

    Returns:
        Tensor: Of each chunk ``j``, the sum over ``n < j < m``,
        ``(..., N, K)``.
    """
    later = torch.zeros_like(grad)  # sum over all m > j
    later[..., :-1, :] = _reverse_cumsum(grad[..., 1:, :])
    earlier = later.cumsum(-1).roll(1, -1)  # sum over all n < j
    earlier[..., 0] = 0
    return earlier.diagonal(dim1=-2, dim2=-1).mT


def _reverse_cumsum(x: Tensor) -> Tensor:
    """Sum ``(..., L, K)`` from each token to the last one."""
    return x.flip(-2).cumsum(-2).flip(-2)


def _blocks(x: Tensor, like: Tensor) -> tuple:
    """Split tokens ``(..., L, K)`` into pairs of blocks as long as ``like``.

    Returns:
        tuple[Tensor, Tensor]: Views of the first and the second blocks, each
        ``(..., blocks, size, K)``.
    """
    return x.unflatten(-2, (-1, 2, like.shape[-2])).unbind(-3)


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
