# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV in chunks: eq. (6) at a cost linear in the number of tokens.

The tokens are cut into chunks of ``C``. With a chunk's middle at ``m``, the
decay from token ``i`` to a later token ``l`` of the chunk is split into one
factor for each,

``exp((l - i - 1) w) = exp((l - m - 1/2) w) exp((m - i - 1/2) w)``,

so that all pairs are one matrix product; for an earlier token likewise. The
same factors take keys out of a chunk and receptances into it: across chunks,
two running states of shape ``(K, V)`` hold the tokens before a chunk and those
after it. One of the factors is above one: a chunk is as long as keeps it in
range, so that strong decays are slower and as exact as weak ones.

The gradient is written out for the sake of ``w``: of neighbours, which do not
decay, those of the two factors would cancel, and drown the rest. So every
factor counts whole steps from the chunk's edge, as if it were one of
``exp(p w)``, ``exp((C - 1 - p) w)`` and, between chunks, ``exp(C w)``.
"""
import math
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .into import into

# Longer chunks have fewer states to pass on, and more pairs.
MAX_CHUNK_SIZE = 50


class BiWKVDecays(NamedTuple):
    """Decays for frames of one number of tokens, of a layer or of several."""
    w: Tensor  # (..., H, K), of at most what a chunk of one token holds
    u: Tensor  # (..., H, K)
    # at place p of a chunk exp((p - m - 1/2) w) and exp((m - p - 1/2) w), and
    # what makes u of the first of them, for the key of the token itself
    factors: Tensor  # (..., H, L, 3, K)
    whole: Tensor  # (..., H, K, 1), of a chunk
    half: Tensor  # (..., H, K, 1), of half a chunk
    chunk_size: int

    def unbind(self) -> 'List[BiWKVDecays]':
        """Those of each layer."""
        return [
            BiWKVDecays(*layer, self.chunk_size) for layer in zip(*self[:-1])
        ]


def bi_wkv(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> Tensor:
    """Bidirectional WKV over the tokens of a frame, eq. (6).

    ``y_l = r_l (diag(u) k_l^T v_l
    + sum_{i != l} diag(exp((|l - i| - 1) w)) k_i^T v_i)``

    Args:
        r (Tensor): Receptance, shape ``(B, L, H, K)``.
        k (Tensor): Key, shape ``(B, L, H, K)``.
        v (Tensor): Value, shape ``(B, L, H, V)``.
        w (Tensor): Log-decay a token, ``<= 0``, shape ``(H, K)``.
        u (Tensor): Bonus of the token itself, shape ``(H, K)``.

    Returns:
        Tensor: Output, shape ``(B, L, H, V)``, in the dtype of ``v``. Sums
        are taken in float32, or in float64 where ``v`` is.

    Raises:
        ValueError: If a shape does not fit, or ``w`` holds a value that is
            positive or not finite.
    """
    _check(r, k, v, w, u)
    dtype = torch.promote_types(v.dtype, w.dtype)
    return bi_wkv_chunked(r, k, v, bi_wkv_decays(w.to(dtype), u, r.shape[1]))


def bi_wkv_decays(w: Tensor, u: Tensor, num_tokens: int) -> BiWKVDecays:
    """Prepare the decays for frames of ``num_tokens``, in float32 or wider.

    The product of two factors is up to ``exp(-C w)``, where later tokens are
    left out. Each factor must not overflow: the chunk size ``C`` is the
    largest for which the strongest decay keeps it in range. Of all divisions
    into the fewest chunks it is the one with the least padding. For a chunk
    of one token ``w`` must be in range itself: what is cut off there decays to
    less than the smallest number.

    Args:
        w (Tensor): Log-decay a token, ``<= 0``, shape ``(..., H, K)``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        num_tokens (int): Tokens ``L`` of a frame.

    Returns:
        BiWKVDecays: For :func:`bi_wkv_chunked`.
    """
    dtype = torch.promote_types(w.dtype, torch.float32)
    w, u = w.to(dtype), u.to(dtype)
    limit = 1.6 * math.log(torch.finfo(dtype).max)  # of a factor, squared
    strongest = -w.detach().min().item()
    longest = MAX_CHUNK_SIZE
    if strongest * MAX_CHUNK_SIZE > limit:
        longest = max(int(limit / strongest), 1)
    C = math.ceil(num_tokens / math.ceil(num_tokens / longest))
    w = w.clamp(min=-limit)
    with torch.no_grad():
        place = torch.arange(num_tokens, device=w.device) % C
        steps = place.to(dtype) - (C - 1) / 2
        steps = torch.stack([steps - 0.5, -steps - 0.5, 0.5 - steps], dim=-1)
        factors = torch.exp(steps[..., None] * w[..., None, None, :])
        factors[..., 2, :] *= u[..., None, :]
        whole, half = torch.exp(C * w), torch.exp(C / 2 * w)
    return BiWKVDecays(w, u, factors, whole[..., None], half[..., None], C)


def bi_wkv_chunked(r: Tensor, k: Tensor, v: Tensor,
                   decays: BiWKVDecays) -> Tensor:
    """:func:`bi_wkv` with prepared decays, and without its checks.

    Args:
        r (Tensor): Receptance, shape ``(B, L, H, K)``.
        k (Tensor): Key, shape ``(B, L, H, K)``.
        v (Tensor): Value, shape ``(B, L, H, V)``.
        decays (BiWKVDecays): Of one layer, for ``L`` tokens.

    Returns:
        Tensor: Output, shape ``(B, L, H, V)``, in the dtype of ``v``.
    """
    lifted = (t.to(decays.w.dtype) for t in (r, k, v))
    if not torch.is_autocast_enabled(v.device.type):
        return _BiWKV.apply(*lifted, *decays).to(v.dtype)
    with torch.autocast(v.device.type, enabled=False):
        return _BiWKV.apply(*lifted, *decays).to(v.dtype)


class _BiWKV(torch.autograd.Function):
    """Equation (6) with its gradient; ``G = B H N`` chunks of ``C`` tokens."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, k: Tensor, v: Tensor, w: Tensor,
                u: Tensor, factors: Tensor, whole: Tensor, half: Tensor,
                C: int) -> Tensor:
        B, L, H, K = k.shape
        asking = _to_chunks(r, C, factors[:, :, :2])  # (G, C, 2K)
        keys = _to_chunks(k, C, factors)  # (G, C, 3K)
        values = _to_chunks(v, C)
        before, after = asking.split(K, -1)
        keys_after, keys_before, own_keys = keys.split(K, -1)

        score = torch.bmm(before, keys_before.mT).tril_(-1)
        score += torch.bmm(after, keys_after.mT).triu_(1)
        score.diagonal(dim1=1, dim2=2).copy_((before * own_keys).sum(-1))
        y = torch.bmm(score, values)
        states = None
        if L > C:
            sums = torch.bmm(keys[..., :2 * K].mT, values)  # (G, 2K, V)
            states = _pass_on(sums, whole, half, B)
            y.baddbmm_(asking, states)
        ctx.save_for_backward(asking, keys, values, score, states, factors,
                              whole, half)
        ctx.sizes = B, L, H
        return _from_chunks(y, B, L, H)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        (asking, keys, values, score, states, factors, whole,
         half) = ctx.saved_tensors
        B, L, H = ctx.sizes
        K = factors.shape[-1]
        G, C, _ = values.shape
        grad = _to_chunks(grad, C)
        before, after = asking.split(K, -1)
        keys_after, keys_before, own_keys = keys.split(K, -1)

        # the pairs of a chunk
        grad_score = torch.bmm(grad, values.mT)
        own = grad_score.diagonal(dim1=1, dim2=2)[..., None].clone()
        earlier, later = grad_score.tril(-1), grad_score.triu_(1)
        grad_before = torch.bmm(earlier, keys_before)
        grad_after = torch.bmm(later, keys_after)
        grad_keys_before = torch.bmm(earlier.mT, before)
        grad_keys_after = torch.bmm(later.mT, after)
        grad_values = torch.bmm(score.mT, grad)
        place = torch.arange(C, dtype=grad.dtype, device=grad.device)
        steps = (place[:, None] - place).abs() - 1
        decayed = torch.bmm(earlier.mul_(steps), keys_before) * before
        decayed += torch.bmm(later.mul_(steps), keys_after) * after
        grad_w = decayed.view(B, H, -1, K).sum((0, 2))

        grad_before.addcmul_(own, own_keys)
        grad_asking = torch.cat([grad_before, grad_after], -1)
        grad_keys = torch.cat(
            [grad_keys_after, grad_keys_before, own * before], -1)

        # what passed through the states
        if states is not None:
            summed = keys[..., :2 * K]
            grad_sums = _pass_on(torch.bmm(asking.mT, grad), whole, half, B)
            through_asking = torch.bmm(grad, states.mT)  # (G, C, 2K)
            through_keys = torch.bmm(values, grad_sums.mT)
            grad_asking += through_asking
            grad_keys[..., :2 * K] += through_keys
            grad_values.baddbmm_(summed, grad_sums)
            # steps from the chunk's start, to its end, and between chunks
            edge = torch.stack([place, place.flip(0)], -1)  # (C, 2)
            at_edge = through_asking * asking + through_keys * summed
            between = (grad_sums * states.roll(K, 1)).sum(-1)
            grad_w += torch.einsum('bhncsk,cs->hk',
                                   at_edge.view(B, H, -1, C, 2, K), edge)
            grad_w += C * between.view(B, H, -1, 2, K).sum((0, 2, 3))

        grad_r = _undecayed(grad_asking, factors[:, :, :2], B)
        grad_k = _undecayed(grad_keys, factors, B)
        first = factors[:, :, 0].transpose(0, 1)  # (L, H, K)
        own_keys = _from_chunks(keys_after, B, L, H) / first / first  # but u
        grad_u = _from_chunks(grad_keys[..., 2 * K:], B, L, H) * own_keys
        return (grad_r, grad_k, _from_chunks(grad_values, B, L, H), grad_w,
                grad_u.sum((0, 1)), None, None, None, None)


def _to_chunks(x: Tensor,
               size: int,
               factors: Optional[Tensor] = None) -> Tensor:
    """``(B, L, H, K)`` to ``(G, C, K)``, zeros after the end.

    With factors ``(H, L, F, K)``, times each of them: ``(G, C, F K)``.
    """
    B, L, H, K = x.shape
    x = x.transpose(1, 2)  # (B, H, L, K)
    width = K if factors is None else K * factors.shape[-2]
    chunks = x.new_empty(B, H, -(-L // size) * size, width)
    if factors is None:
        chunks[:, :, :L] = x
    else:
        into(chunks[:, :, :L].unflatten(-1, (-1, K)), torch.mul,
             x.unsqueeze(3), factors)
    chunks[:, :, L:].zero_()
    return chunks.view(-1, size, width)


def _from_chunks(x: Tensor, B: int, L: int, H: int) -> Tensor:
    """``(G, C, V)`` to ``(B, L, H, V)``."""
    return x.reshape(B, H, -1, x.shape[-1])[:, :, :L].transpose(1, 2)


def _undecayed(grad: Tensor, factors: Tensor, B: int) -> Tensor:
    """The gradient of :func:`_to_chunks`."""
    H, L, F, K = factors.shape
    grad = _from_chunks(grad, B, L, H).unflatten(-1, (F, K))
    return (grad * factors.transpose(0, 1)).sum(-2)


def _pass_on(sums: Tensor, whole: Tensor, half: Tensor, B: int) -> Tensor:
    """Decayed sums over the chunks after and before each chunk.

    The first half of the rows goes from the end to the start and becomes the
    second half, the other the other way: what is passed on of gradients, too.

    Args:
        sums (Tensor): Shape ``(G, 2K, V)``; overwritten.
        whole (Tensor): Decay of a chunk, shape ``(H, K, 1)``.
        half (Tensor): Of half a chunk, shape ``(H, K, 1)``.
        B (int): Batch.
    """
    H, K, _ = half.shape
    states = torch.empty_like(sums).view(B, H, -1, *sums.shape[1:])
    sums = sums.view(states.shape)  # (B, H, N, 2K, V)
    down, up = sums.split(K, 3)
    before, after = states.split(K, 3)
    half = half[:, None]
    up.mul_(half)
    down.mul_(half)
    downs, ups = down.unbind(2), up.unbind(2)
    for n in range(1, len(ups) - 1):
        ups[n].addcmul_(ups[n - 1], whole)
        downs[-1 - n].addcmul_(downs[-n], whole)
    before[:, :, 0].zero_()
    after[:, :, -1].zero_()
    into(before[:, :, 1:], torch.mul, up[:, :, :-1], half)
    into(after[:, :, :-1], torch.mul, down[:, :, 1:], half)
    return states.flatten(0, 2)


def _check(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> None:
    if r.ndim != 4 or r.shape != k.shape or r.shape[:3] != v.shape[:3]:
        raise ValueError('r and k must be (B, L, H, K) and v (B, L, H, V), '
                         f'got {tuple(r.shape)}, {tuple(k.shape)} and '
                         f'{tuple(v.shape)}')
    if r.shape[1] == 0:
        raise ValueError(f'there must be at least one token, got r of shape '
                         f'{tuple(r.shape)}')
    if not w.shape == u.shape == r.shape[2:]:
        raise ValueError(f'w and u must be (H, K) = {tuple(r.shape[2:])}, got '
                         f'{tuple(w.shape)} and {tuple(u.shape)}')
    if (w > 0).any() or not w.isfinite().all():
        raise ValueError('w is a log-decay, finite and not positive, got '
                         f'values from {w.min().item()} to {w.max().item()}')
