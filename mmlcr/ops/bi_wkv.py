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

Keys and values of LCR do not depend on its memory, receptance does. The
operator is therefore in two halves: :func:`bi_wkv_memory` sums up keys and
values, of all frames at once, and :func:`bi_wkv_read` asks one frame's sums.
Their gradients are written out for the sake of ``w``: of neighbours, which do
not decay, those of the two factors would cancel, and drown the rest. So every
factor counts whole steps from the chunk's edge, as if it were one of
``exp(p w)``, ``exp((C - 1 - p) w)`` and, between chunks, ``exp(C w)``.
"""
import functools
import math
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

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
    chunk_size: int

    def unbind(self) -> 'List[BiWKVDecays]':
        """Those of each layer."""
        return [
            BiWKVDecays(*layer, self.chunk_size) for layer in zip(*self[:-1])
        ]


class BiWKVMemory(NamedTuple):
    """What :func:`bi_wkv_read` needs of the keys and values.

    Of ``G = B H N`` chunks of ``C`` tokens, ``N`` a frame and head; ``...``
    are the frames.
    """
    keys: Tensor  # (..., G, C, 3K), for earlier, for later and for own token
    values: Tensor  # (..., G, C, V)
    states: Tensor  # (..., G, 2K, V): of the tokens before and after
    decays: BiWKVDecays

    def unbind(self) -> 'List[BiWKVMemory]':
        """One memory for every frame.

        Cheaper to differentiate than indexing, whose gradient is as large as
        all of them.
        """
        return [
            BiWKVMemory(*frame, self.decays) for frame in zip(*self[:-1])
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
    return bi_wkv_chunked(r, k, v, w, u)


def bi_wkv_chunked(r: Tensor, k: Tensor, v: Tensor, w: Tensor,
                   u: Tensor) -> Tensor:
    """:func:`bi_wkv` without its checks."""
    dtype = torch.promote_types(v.dtype, w.dtype)
    decays = bi_wkv_decays(w.to(dtype), u, k.shape[-3])
    return bi_wkv_read(r, bi_wkv_memory(k, v, decays)).to(v.dtype)


def bi_wkv_decays(w: Tensor, u: Tensor, num_tokens: int) -> BiWKVDecays:
    """Prepare the decays for frames of ``num_tokens``, in float32 or wider.

    The product of two factors is up to ``exp(-C w)``, which must not
    overflow: the chunk size ``C`` is the largest for which the strongest decay
    keeps in range. Of all divisions into the fewest chunks it is the one with
    the least padding. For a chunk of one token ``w`` must be in range itself:
    what is cut off there decays to less than the smallest number.

    Args:
        w (Tensor): Log-decay a token, ``<= 0``, shape ``(..., H, K)``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        num_tokens (int): Tokens ``L`` of a frame.

    Returns:
        BiWKVDecays: For :func:`bi_wkv_memory`.
    """
    dtype = torch.promote_types(w.dtype, torch.float32)
    w, u = w.to(dtype), u.to(dtype)
    limit = 0.8 * math.log(torch.finfo(dtype).max)
    strongest = -w.detach().min().item()
    longest = MAX_CHUNK_SIZE
    if strongest * MAX_CHUNK_SIZE > 2 * limit:
        longest = max(int(2 * limit / strongest), 1)
    C = math.ceil(num_tokens / math.ceil(num_tokens / longest))
    w = w.clamp(min=-2 * limit)
    with torch.no_grad():
        place = torch.arange(num_tokens, device=w.device) % C
        steps = place.to(dtype) - (C - 1) / 2
        steps = torch.stack([steps - 0.5, -steps - 0.5, 0.5 - steps], dim=-1)
        factors = torch.exp(steps[..., None] * w[..., None, None, :])
        factors[..., 2, :] *= u[..., None, :]
    return BiWKVDecays(w, u, factors, C)


def _full_precision(function: Callable) -> Callable:
    """Keep autocast out of a function of the operator."""

    @functools.wraps(function)
    def wrapper(x: Tensor, *args: Any) -> Any:
        if not torch.is_autocast_enabled(x.device.type):
            return function(x, *args)
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *args)

    return wrapper


@_full_precision
def bi_wkv_memory(k: Tensor, v: Tensor, decays: BiWKVDecays) -> BiWKVMemory:
    """Sum up keys and values for :func:`bi_wkv_read`.

    Args:
        k (Tensor): Key, shape ``(..., B, L, H, K)``.
        v (Tensor): Value, shape ``(..., B, L, H, V)``.
        decays (BiWKVDecays): Of one layer, for ``L`` tokens.

    Returns:
        BiWKVMemory: The sums, in the dtype of the decays.
    """
    k, v = k.to(decays.w.dtype), v.to(decays.w.dtype)
    return BiWKVMemory(*_Memory.apply(k, v, *decays), decays)


@_full_precision
def bi_wkv_read(r: Tensor, memory: BiWKVMemory) -> Tensor:
    """Read eq. (6) out of a memory.

    Args:
        r (Tensor): Receptance, shape ``(B, L, H, K)``.
        memory (BiWKVMemory): Sums over one frame.

    Returns:
        Tensor: Output, shape ``(B, L, H, V)``, in the memory's dtype.
    """
    *sums, (w, _, factors, _) = memory
    y = _Read.apply(r.to(w.dtype), *sums, w, factors)
    return _from_chunks(y, *r.shape[:-1])


class _Memory(torch.autograd.Function):
    """The sums of a :class:`BiWKVMemory`."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor, w: Tensor, u: Tensor,
                factors: Tensor, C: int) -> Tuple[Tensor, Tensor, Tensor]:
        B, L, H, K = k.shape[-4:]
        N = -(-L // C)
        keys, values = _to_chunks(k, C, factors), _to_chunks(v, C)
        half_decay = torch.exp(C / 2 * w)[..., None]  # (H, K, 1)
        sums = keys[..., :2 * K].mT @ values  # (..., G, 2K, V)
        states = _pass_on(sums, half_decay, N)
        ctx.save_for_backward(keys, values, states, half_decay, factors)
        ctx.sizes = B, L, H, K, N
        return keys, values, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_keys: Tensor, grad_values: Tensor,
                 grad_states: Tensor) -> Tuple:
        keys, values, states, half_decay, factors = ctx.saved_tensors
        B, L, H, K, N = ctx.sizes
        C = keys.shape[-2]
        grad_sums = _pass_on(grad_states, half_decay, N)
        grad_summed = values @ grad_sums.mT  # (..., G, C, 2K)
        passed = grad_sums * states.roll(K, -2)  # the halves change places
        summed = keys[..., :2 * K]
        grad_w = (
            C * _by_head(passed, H, N).sum(-1).view(H, 2, K).sum(1) +
            _of_decay(_by_head(grad_summed * summed, H, N)))

        grad_keys = grad_keys.clone()
        grad_keys[..., :2 * K] += grad_summed
        grad_keys = _from_chunks(grad_keys, B, L, H).unflatten(-1, (3, K))
        factors = factors.transpose(0, 1)  # (L, H, 3, K)
        grad_k = (grad_keys * factors).sum(-2)
        first = factors[..., 0, :]
        own = _from_chunks(keys, B, L, H)[..., :K] / first / first  # no u
        grad_u = (grad_keys[..., 2, :] * own).view(-1, L, H, K).sum((0, 1))
        grad_v = _from_chunks(grad_values + summed @ grad_sums, B, L, H)
        return grad_k, grad_v, grad_w, grad_u, None, None


class _Read(torch.autograd.Function):
    """Receptance ``(B, L, H, K)`` to output in chunks, ``(G, C, V)``."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, keys: Tensor, values: Tensor,
                states: Tensor, w: Tensor, factors: Tensor) -> Tensor:
        K = w.shape[-1]
        asking = _to_chunks(r, keys.shape[-2], factors[:, :, :2])
        before, after = asking.split(K, -1)  # (G, C, K)
        keys_after, keys_before, own_keys = keys.split(K, -1)
        score = torch.bmm(before, keys_before.mT).tril_(-1)
        score += torch.bmm(after, keys_after.mT).triu_(1)
        score.diagonal(dim1=-2, dim2=-1).copy_((before * own_keys).sum(-1))
        ctx.save_for_backward(asking, score, keys, values, states, factors)
        ctx.sizes = r.shape
        return torch.bmm(score, values).baddbmm_(asking, states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        asking, score, keys, values, states, factors = ctx.saved_tensors
        B, L, H, K = ctx.sizes
        N, C = len(asking) // (B * H), asking.shape[-2]
        before, after = asking.split(K, -1)
        keys_after, keys_before, own_keys = keys.split(K, -1)

        grad_score = torch.bmm(grad, values.mT)
        own = grad_score.diagonal(dim1=-2, dim2=-1)[..., None]
        earlier, later = grad_score.tril(-1), grad_score.triu(1)
        place = torch.arange(C, dtype=grad.dtype, device=grad.device)
        steps = (place[:, None] - place).abs() - 1  # between two of a chunk
        grad_asking = torch.bmm(grad, states.mT)
        grad_w = _of_decay(_by_head(grad_asking * asking, H, N)) + _by_head(
            torch.bmm(steps * earlier, keys_before) * before +
            torch.bmm(steps * later, keys_after) * after, H, N).sum(1)

        grad_before, grad_after = grad_asking.split(K, -1)
        grad_before.baddbmm_(earlier, keys_before).addcmul_(own, own_keys)
        grad_after.baddbmm_(later, keys_after)
        grad_r = (
            _from_chunks(grad_asking, B, L, H).unflatten(-1, (2, K)) *
            factors[:, :, :2].transpose(0, 1)).sum(-2)
        grad_keys = torch.cat([
            torch.bmm(later.mT, after),
            torch.bmm(earlier.mT, before), own * before
        ], -1)
        return (grad_r, grad_keys, torch.bmm(score.mT, grad),
                torch.bmm(asking.mT, grad), grad_w, None)


def _to_chunks(x: Tensor,
               size: int,
               factors: Optional[Tensor] = None) -> Tensor:
    """``(..., B, L, H, K)`` to ``(..., G, C, K)``, zeros after the end.

    With factors ``(H, L, F, K)``, times each of them: ``(..., G, C, F K)``.
    """
    *frames, B, L, H, K = x.shape
    x = x.transpose(-3, -2)  # (..., B, H, L, K)
    width = K if factors is None else K * factors.shape[-2]
    chunked = x.new_empty(*frames, B, H, -(-L // size) * size, width)
    if factors is None:
        chunked[..., :L, :] = x
    else:
        into(chunked[..., :L, :].unflatten(-1, (-1, K)), torch.mul,
             x.unsqueeze(-2), factors)
    chunked[..., L:, :].zero_()
    return chunked.view(*frames, -1, size, width)


def _from_chunks(x: Tensor, B: int, L: int, H: int) -> Tensor:
    """``(..., G, C, V)`` to ``(..., B, L, H, V)``."""
    x = x.view(*x.shape[:-3], B, H, -1, x.shape[-1])
    return x[..., :L, :].transpose(-3, -2)


def _pass_on(sums: Tensor, half_decay: Tensor, N: int) -> Tensor:
    """Decayed sums over the chunks after and before each chunk.

    The first half of the rows goes from the end to the start and becomes the
    second half, the other the other way: what is passed on of gradients, too.

    Args:
        sums (Tensor): Shape ``(..., G, 2K, V)``.
        half_decay (Tensor): Of half a chunk, shape ``(H, K, 1)``.
        N (int): Chunks of a frame and head.
    """
    H, K, _ = half_decay.shape
    passed = torch.empty_like(sums)
    groups = [t.unflatten(-3, (-1, H, N)) for t in (sums, passed)]
    down, up, before, after = (
        half.unbind(-3) for group in groups for half in group.split(K, -2))
    before[0].zero_()
    after[-1].zero_()
    for n in range(1, N):
        for new, old, own in ((before[n], before[n - 1], up[n - 1]),
                              (after[-n - 1], after[-n], down[-n])):
            into(new, torch.add, old, own)
            new.mul_(half_decay).mul_(half_decay)
    return passed


def _by_head(x: Tensor, H: int, N: int) -> Tensor:
    """Sum ``(..., G, C, K)`` over frames, batch and chunks: ``(H, C, K)``."""
    return x.view(-1, H, N, *x.shape[-2:]).sum((0, 2))


def _of_decay(x: Tensor) -> Tensor:
    """The gradient of ``w``, given that of each token's exponent.

    Args:
        x (Tensor): Shape ``(H, C, 2K)``; of the first half, tokens are as
            many steps from the chunk's start as their place, of the second,
            as many from its end.
    """
    place = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
    steps = torch.stack([place, place.flip(0)], -1)
    return torch.einsum('hcsk,cs->hk', x.unflatten(-1, (2, -1)), steps)


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
