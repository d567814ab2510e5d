# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV in chunks: eq. (6) at a cost linear in the number of tokens.

The tokens are split into chunks of ``C``. With ``m`` the middle of a chunk,
the decay from token ``i`` to a later token ``l`` of the chunk is a product of
one factor for each token,

``exp((l - i - 1) w) = exp((l - m - 1/2) w) exp((m - i - 1/2) w)``,

so all pairs are one matrix product; the other direction is analogous. The same
factors decay keys to the edges of a chunk, and receptances from them. Two
states of shape ``(K, V)`` per chunk hold the sums of all tokens before and
after it. One of the factors is above one: the chunk size is chosen so that it
does not overflow. Strong decays are therefore slower, and as exact as weak
ones.

Keys and values of LCR do not depend on the previous hidden state, receptance
does. The operator therefore has two halves: :func:`bi_wkv_memory` sums up keys
and values, :func:`bi_wkv_read` applies receptance. Their backward passes are
explicit because of the gradient of ``w``: between neighbours, which do not
decay, the gradients of the two factors would cancel, and their rounding errors
would exceed the rest. Instead, the gradient counts steps from the edges of a
chunk, as if the factors were ``exp(p w)``, ``exp((C - 1 - p) w)`` and, between
chunks, ``exp(C w)``.

Shapes: a frame has ``N`` chunks of ``C`` tokens, a batch ``G = B H N`` chunks.
Leading dimensions ``...`` are layers, each with its own decays, if any.
"""
import functools
import math
from typing import Any, Callable, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .bi_wkv_tokens import bi_wkv_tokens
from .chunks import (
    bmm,
    decay_gradient,
    from_chunks,
    scan_chunks,
    to_chunks,
    to_chunks_backward,
)

# longer chunks have fewer states, and more pairs of tokens
MAX_CHUNK_SIZE = 50


class BiWKVDecays(NamedTuple):
    """Decays for frames of a given number of tokens."""
    w: Tensor  # (..., H, K), clamped to the range of a factor
    u: Tensor  # (..., H, K)
    # at position p of a chunk: exp((p - m - 1/2) w), exp((m - p - 1/2) w),
    # and u divided by the first, for the key of the token itself
    factors: Tensor  # (..., H, C, 3, K)
    chunk_decay: Tensor  # (..., H, K, 1), of a chunk
    half_decay: Tensor  # (..., H, K, 1), of half a chunk
    chunk_size: int


class BiWKVMemory(NamedTuple):
    """Keys and values, prepared for :func:`bi_wkv_read`."""
    # decayed for earlier tokens, for later ones, and for the token itself
    keys: Tensor  # (..., G, C, 3K)
    values: Tensor  # (..., G, C, V)
    # sums over the chunks after and before; None with a single chunk
    states: Optional[Tensor]  # (..., G, 2K, V)
    decays: BiWKVDecays


def bi_wkv(r: Tensor,
           k: Tensor,
           v: Tensor,
           w: Tensor,
           u: Tensor,
           *,
           check_values: bool = True) -> Tensor:
    """Bidirectional WKV over the tokens of a frame, eq. (6).

    ``y_l = r_l (diag(u) k_l^T v_l
    + sum_{i != l} diag(exp((|l - i| - 1) w)) k_i^T v_i)``

    Args:
        r (Tensor): Receptance, shape ``(B, L, H, K)``.
        k (Tensor): Key, shape ``(B, L, H, K)``.
        v (Tensor): Value, shape ``(B, L, H, V)``.
        w (Tensor): Log-decay per token, ``<= 0``, shape ``(H, K)``, or one
            for each token, shape ``(B, L, H, K)``: see :func:`bi_wkv_tokens`.
        u (Tensor): Bonus of the token itself, shape ``(H, K)``.
        check_values (bool): Whether to check the values of ``w``, which
            synchronizes with a GPU. Defaults to True.

    Returns:
        Tensor: Output, shape ``(B, L, H, V)``, in the dtype of ``v``. Sums
        are in float32, or in float64 if ``v`` is.

    Raises:
        ValueError: If shapes do not fit, or a value of ``w`` is positive or
            not finite.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    _check(r, k, v, w, u)
    if check_values and not traced:
        _check_values(w)
    if traced:  # the chunk size must not depend on the values of w
        w = w.expand(r.shape)
    if w.ndim == 4:
        return bi_wkv_tokens(r, k, v, w, u).to(v.dtype)
    dtype = torch.promote_types(v.dtype, w.dtype)
    decays = bi_wkv_decays(w.to(dtype), u, r.shape[1])
    return bi_wkv_read(r, bi_wkv_memory(k, v, decays)).to(v.dtype)


def bi_wkv_decays(w: Tensor, u: Tensor, num_tokens: int) -> BiWKVDecays:
    """Prepare the decays for frames of ``num_tokens``, in float32 or wider.

    The chunk size ``C`` is the largest for which the factors of the strongest
    decay do not overflow, reduced to the least padding with as many chunks.
    The products of factors that are masked out reach ``exp(-C w)``. ``w`` is
    clamped to the range of a factor; decays beyond it underflow to zero
    anyway.

    Args:
        w (Tensor): Log-decay per token, ``<= 0``, shape ``(..., H, K)``.
        u (Tensor): Bonus of the token itself, shape ``(..., H, K)``.
        num_tokens (int): Tokens ``L`` per frame.

    Returns:
        BiWKVDecays: The decays, for :func:`bi_wkv_memory`.
    """
    dtype = torch.promote_types(w.dtype, torch.float32)
    w, u = w.to(dtype), u.to(dtype)
    # bound of log(factor^2): a factor has half of the chunk's decay
    limit = 1.6 * math.log(torch.finfo(dtype).max)
    strongest = -w.detach().min().item()
    longest = MAX_CHUNK_SIZE
    if strongest * MAX_CHUNK_SIZE > limit:
        longest = max(int(limit / strongest), 1)
    C = math.ceil(num_tokens / math.ceil(num_tokens / longest))
    w = w.clamp(min=-limit)
    with torch.no_grad():
        steps = torch.arange(C, dtype=dtype, device=w.device) - (C - 1) / 2
        steps = torch.stack([steps - 0.5, -steps - 0.5, 0.5 - steps], dim=-1)
        factors = torch.exp(steps[..., None] * w[..., None, None, :])
        factors[..., 2, :] *= u[..., None, :]
        chunk_decay, half_decay = torch.exp(C * w), torch.exp(C / 2 * w)
    return BiWKVDecays(w, u, factors, chunk_decay[..., None],
                       half_decay[..., None], C)


def _full_precision(function: Callable) -> Callable:
    """Disable autocast inside of a function of the operator."""

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
        decays (BiWKVDecays): Decays for ``L`` tokens.

    Returns:
        BiWKVMemory: The sums, in the dtype of the decays.
    """
    dtype = decays.w.dtype
    sums = _Memory.apply(k.to(dtype), v.to(dtype), *decays)
    return BiWKVMemory._make([*sums, decays])


@_full_precision
def bi_wkv_read(r: Tensor, memory: BiWKVMemory) -> Tensor:
    """Compute eq. (6) from receptance and the sums of keys and values.

    Args:
        r (Tensor): Receptance, shape ``(..., B, L, H, K)``.
        memory (BiWKVMemory): Sums of the same layers.

    Returns:
        Tensor: Output, shape ``(..., B, L, H, V)``, in the memory's dtype.
    """
    decays = memory.decays
    return _Read.apply(
        r.to(decays.w.dtype), *memory[:-1], decays.w, decays.factors)


class _Memory(torch.autograd.Function):
    """Computes keys, values and states of a :class:`BiWKVMemory`."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor, w: Tensor, u: Tensor,
                factors: Tensor, chunk_decay: Tensor, half_decay: Tensor,
                C: int) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        B, L, _, K = k.shape[-4:]
        keys, values = to_chunks(k, C, factors), to_chunks(v, C)
        states = None
        if L > C:
            sums = bmm(keys[..., :2 * K].mT, values)  # (..., G, 2K, V)
            states = scan_chunks(sums, chunk_decay, half_decay, B)
        ctx.save_for_backward(keys, values, states, factors, chunk_decay,
                              half_decay)
        ctx.sizes = B, L
        return keys, values, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_keys: Tensor, grad_values: Tensor,
                 grad_states: Optional[Tensor]) -> Tuple:
        (keys, values, states, factors, chunk_decay,
         half_decay) = ctx.saved_tensors
        (B, L), (H, C, _, K) = ctx.sizes, factors.shape[-4:]
        grad_w = torch.zeros_like(chunk_decay[..., 0])
        key_grads = [grad_keys]
        if grad_states is not None:
            summed = keys[..., :2 * K]
            grad_sums = scan_chunks(grad_states, chunk_decay, half_decay, B)
            grad_summed = bmm(values, grad_sums.mT)  # (..., G, C, 2K)
            grad_w = decay_gradient(grad_summed * summed, B, H)
            passed = (grad_sums * states.roll(K, -2)).sum(-1)
            passed = passed.unflatten(-2, (B, H, -1)).unflatten(-1, (2, K))
            grad_w = grad_w + C * passed.sum((-5, -3, -2))
            grad_values = grad_values + bmm(summed, grad_sums)
            key_grads.append(grad_summed)
        first = factors[..., None, :, None, :, 0, :]  # (..., 1, H, 1, C, K)
        # k divided by the first factor
        own = keys[..., :K].unflatten(-3, (B, H, -1)) / first / first
        own *= grad_keys[..., 2 * K:].unflatten(-3, (B, H, -1))
        return (to_chunks_backward(key_grads, factors, B, L),
                from_chunks(grad_values, B, L, H), grad_w,
                own.sum((-5, -3, -2)), None, None, None, None)


class _Read(torch.autograd.Function):
    """Computes equation (6) from receptance and a memory's parts."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, keys: Tensor, values: Tensor,
                states: Optional[Tensor], w: Tensor,
                factors: Tensor) -> Tensor:
        B, L, H, K = r.shape[-4:]
        C = keys.shape[-2]
        decayed_r = to_chunks(r, C, factors[..., :2, :])  # (..., G, C, 2K)
        before, after = decayed_r.flatten(0, -3).split(K, -1)
        keys_after, keys_before, own_keys = keys.flatten(0, -3).split(K, -1)
        score = torch.bmm(before, keys_before.mT).tril_(-1)
        score += torch.bmm(after, keys_after.mT).triu_(1)
        own = (before * own_keys).sum(-1)
        if torch.compiler.is_compiling():  # no in-place diagonal there
            eye = torch.eye(C, dtype=own.dtype, device=own.device)
            score = score + own[..., None] * eye
        else:
            score.diagonal(dim1=-2, dim2=-1).copy_(own)
        y = torch.bmm(score, values.flatten(0, -3))
        if states is not None:
            y.baddbmm_(decayed_r.flatten(0, -3), states.flatten(0, -3))
        ctx.save_for_backward(decayed_r, score, keys, values, states, factors)
        ctx.sizes = B, L
        return from_chunks(y.view(*keys.shape[:-1], -1), B, L, H)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        decayed_r, score, keys, values, states, factors = ctx.saved_tensors
        (B, L), (H, C, _, K) = ctx.sizes, factors.shape[-4:]
        grad = to_chunks(grad, C)  # (..., G, C, V)
        score = score.view(*keys.shape[:-1], C)
        before, after = decayed_r.split(K, -1)
        keys_after, keys_before, own_keys = keys.split(K, -1)

        grad_score = bmm(grad, values.mT)
        own = grad_score.diagonal(dim1=-2, dim2=-1)[..., None].clone()
        earlier, later = grad_score.tril(-1), grad_score.triu_(1)
        grad_keys = torch.cat([
            bmm(later.mT, after),
            bmm(earlier.mT, before),
            own * before,
        ], -1)
        grad_decayed_r = torch.cat([
            torch.addcmul(bmm(earlier, keys_before), own, own_keys),
            bmm(later, keys_after),
        ], -1)
        position = torch.arange(C, dtype=grad.dtype, device=grad.device)
        # number of tokens strictly between two tokens of a chunk
        steps = (position[:, None] - position).abs() - 1
        between = bmm(earlier.mul_(steps), keys_before) * before
        between += bmm(later.mul_(steps), keys_after) * after
        grad_w = between.unflatten(-3, (B, H, -1)).sum((-5, -3, -2))

        grad_states = None
        if states is not None:
            grad_read = bmm(grad, states.mT)
            grad_decayed_r += grad_read
            grad_w += decay_gradient(grad_read * decayed_r, B, H)
            grad_states = bmm(decayed_r.mT, grad)
        grad_r = to_chunks_backward([grad_decayed_r], factors, B, L)
        return (grad_r, grad_keys, bmm(score.mT, grad), grad_states, grad_w,
                None)


def _check(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> None:
    if r.ndim != 4 or r.shape != k.shape or r.shape[:3] != v.shape[:3]:
        raise ValueError('r and k must be (B, L, H, K) and v (B, L, H, V), '
                         f'got {tuple(r.shape)}, {tuple(k.shape)} and '
                         f'{tuple(v.shape)}')
    if r.shape[1] == 0:
        raise ValueError(f'there must be at least one token, got r of shape '
                         f'{tuple(r.shape)}')
    if w.shape not in (u.shape, r.shape) or u.shape != r.shape[2:]:
        raise ValueError(f'w and u must be (H, K) = {tuple(r.shape[2:])}, or '
                         'w of the shape of r, got '
                         f'{tuple(w.shape)} and {tuple(u.shape)}')


def _check_values(w: Tensor) -> None:
    if (w > 0).any() or not w.isfinite().all():
        raise ValueError('w is a log-decay, finite and not positive, got '
                         f'values from {w.min().item()} to {w.max().item()}')
