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
from typing import Any, Callable, List, NamedTuple, Tuple

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
    # exp((p - m - 1/2) w) and exp((m - p - 1/2) w) at place p of a chunk
    factors: Tensor  # (..., H, L, 2, K)
    chunk_size: int

    def unbind(self) -> 'List[BiWKVDecays]':
        """Those of each layer."""
        return [
            BiWKVDecays(*layer, self.chunk_size) for layer in zip(*self[:-1])
        ]


class BiWKVMemory(NamedTuple):
    """What :func:`bi_wkv_read` needs of the keys and values.

    ``N`` chunks of ``C`` tokens; ``...`` are the batch dimensions.
    """
    keys: Tensor  # (..., H, N, C, 2K), as earlier and as later tokens see them
    own_keys: Tensor  # (..., L, H, K), times u: as their own token sees them
    values: Tensor  # (..., H, N, C, V)
    states: Tensor  # (..., H, N, 2K, V): of the tokens before and after
    decays: BiWKVDecays

    def unbind(self) -> 'List[BiWKVMemory]':
        """One memory for every index of the first batch dimension.

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
    """:func:`bi_wkv` without its checks; any number of batch dimensions."""
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
        steps = torch.stack([steps - 0.5, -steps - 0.5], dim=-1)  # (L, 2)
        factors = torch.exp(steps[..., None] * w[..., None, None, :])
    return BiWKVDecays(w, u, factors, C)


def _full_precision(function: Callable) -> Callable:
    """Keep autocast out of a function of the operator."""

    @functools.wraps(function)
    def wrapper(x: Tensor, *args: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *args)

    return wrapper


@_full_precision
def bi_wkv_memory(k: Tensor, v: Tensor, decays: BiWKVDecays) -> BiWKVMemory:
    """Sum up keys and values for :func:`bi_wkv_read`.

    Args:
        k (Tensor): Key, shape ``(..., L, H, K)``.
        v (Tensor): Value, shape ``(..., L, H, V)``.
        decays (BiWKVDecays): For ``L`` tokens.

    Returns:
        BiWKVMemory: The sums, in the dtype of the decays.
    """
    k, v = k.to(decays.w.dtype), v.to(decays.w.dtype)
    keys, values, states = _Memory.apply(k, v, decays.w, decays.factors,
                                         decays.chunk_size)
    return BiWKVMemory(keys, k * decays.u, values, states, decays)


@_full_precision
def bi_wkv_read(r: Tensor, memory: BiWKVMemory) -> Tensor:
    """Read eq. (6) out of a memory.

    Args:
        r (Tensor): Receptance, shape ``(..., L, H, K)``.
        memory (BiWKVMemory): Sums over the same ``...``.

    Returns:
        Tensor: Output, shape ``(..., L, H, V)``, in the memory's dtype.
    """
    decays = memory.decays
    y = _Read.apply(
        r.to(decays.w.dtype), *memory[:-1], decays.w, decays.factors)
    return _from_chunks(y, r.shape[-3])


class _Memory(torch.autograd.Function):
    """Keys, values and states of a :class:`BiWKVMemory`."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor, w: Tensor, factors: Tensor,
                C: int) -> Tuple[Tensor, Tensor, Tensor]:
        keys, values = _decayed(k, factors, C), _to_chunks(v, C)
        half_decay = torch.exp(C / 2 * w)[..., None]  # of a chunk, (H, K, 1)
        states = _pass_on(_bmm(keys.mT, values), half_decay)
        ctx.save_for_backward(keys, values, states, half_decay, factors)
        return keys, values, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_keys: Tensor, grad_values: Tensor,
                 grad_states: Tensor) -> Tuple:
        keys, values, states, half_decay, factors = ctx.saved_tensors
        L, C, K = factors.shape[1], keys.shape[-2], factors.shape[-1]
        grad_sums = _pass_on(grad_states, half_decay)
        grad_summed = _bmm(values, grad_sums.mT)  # (..., H, N, C, 2K)
        passed = grad_sums * states.roll(K, -2)  # the halves change places
        grad_w = (
            C * _sum_batch(passed, -3, -1).unflatten(-1, (2, K)).sum(-2) +
            _from_edges(grad_summed * keys))
        grad_v = _from_chunks(grad_values + _bmm(keys, grad_sums), L)
        grad_k = _undecayed(grad_keys + grad_summed, factors)
        return grad_k, grad_v, grad_w, None, None


class _Read(torch.autograd.Function):
    """Receptance to output, ``(..., L, H, K)`` to ``(..., H, N, C, V)``."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, keys: Tensor, own_keys: Tensor,
                values: Tensor, states: Tensor, w: Tensor,
                factors: Tensor) -> Tensor:
        C, K = keys.shape[-2], factors.shape[-1]
        asking = _decayed(r, factors, C)  # (..., H, N, C, 2K)
        score = _bmm(asking[..., :K], keys[..., K:].mT).tril_(-1)
        score += _bmm(asking[..., K:], keys[..., :K].mT).triu_(1)
        own = (r * own_keys).sum(-1, keepdim=True)  # (..., L, H, 1)
        score.diagonal(dim1=-2, dim2=-1).copy_(_to_chunks(own, C)[..., 0])
        ctx.save_for_backward(r, asking, score, keys, own_keys, values, states,
                              factors)
        y = _bmm(score, values)
        y.flatten(0, -3).baddbmm_(
            asking.flatten(0, -3), states.flatten(0, -3))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        (r, asking, score, keys, own_keys, values, states,
         factors) = ctx.saved_tensors
        L, C, K = r.shape[-3], keys.shape[-2], factors.shape[-1]
        asking_before, asking_after = asking[..., :K], asking[..., K:]
        keys_after, keys_before = keys[..., :K], keys[..., K:]

        grad_score = _bmm(grad, values.mT)
        grad_own = _from_chunks(
            grad_score.diagonal(dim1=-2, dim2=-1)[..., None], L)
        before, after = grad_score.tril(-1), grad_score.triu(1)
        grad_asking = _bmm(grad, states.mT)
        grad_w = _from_edges(grad_asking * asking)
        grad_asking[..., :K] += _bmm(before, keys_before)
        grad_asking[..., K:] += _bmm(after, keys_after)
        grad_keys = torch.cat([
            _bmm(after.mT, asking_after),
            _bmm(before.mT, asking_before),
        ], -1)
        place = torch.arange(C, dtype=r.dtype, device=r.device)
        steps = (place[:, None] - place).abs() - 1  # between two of a chunk
        grad_w += _sum_batch(
            _bmm(steps * before, keys_before) * asking_before +
            _bmm(steps * after, keys_after) * asking_after, -3, -2)
        grad_r = _undecayed(grad_asking, factors) + grad_own * own_keys
        return (grad_r, grad_keys, grad_own * r, _bmm(score.mT, grad),
                _bmm(asking.mT, grad), grad_w, None)


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of as many batch dimensions, without its detours."""
    product = torch.bmm(a.flatten(0, -3), b.flatten(0, -3))
    return product.view(*a.shape[:-1], b.shape[-1])


def _decayed(x: Tensor, factors: Tensor, chunk_size: int) -> Tensor:
    """``(..., L, H, K)`` times both factors, ``(..., H, N, C, 2K)``.

    Zeros after the end.
    """
    *batch, L, H, K = x.shape
    out = x.new_empty(*batch, H, -(-L // chunk_size) * chunk_size, 2, K)
    into(out[..., :L, :, :], torch.mul,
         x.transpose(-3, -2)[..., None, :], factors)
    out[..., L:, :, :].zero_()
    return out.view(*batch, H, -1, chunk_size, 2 * K)


def _undecayed(grad: Tensor, factors: Tensor) -> Tensor:
    """The gradient of :func:`_decayed`."""
    L, K = factors.shape[1], factors.shape[-1]
    grad = grad.flatten(-3, -2)[..., :L, :]  # (..., H, L, 2K)
    grad_x = torch.addcmul(grad[..., :K] * factors[:, :, 0], grad[..., K:],
                           factors[:, :, 1])
    return grad_x.transpose(-3, -2)


def _to_chunks(x: Tensor, size: int) -> Tensor:
    """``(..., L, H, V)`` to ``(..., H, N, C, V)``, zeros after the end."""
    *batch, L, H, V = x.shape
    out = x.new_empty(*batch, H, -(-L // size) * size, V)
    out[..., :L, :] = x.transpose(-3, -2)
    out[..., L:, :].zero_()
    return out.view(*batch, H, -1, size, V)


def _from_chunks(x: Tensor, num_tokens: int) -> Tensor:
    """``(..., H, N, C, V)`` to ``(..., L, H, V)``."""
    return x.flatten(-3, -2)[..., :num_tokens, :].transpose(-3, -2)


def _pass_on(sums: Tensor, half_decay: Tensor) -> Tensor:
    """Decayed sums over the chunks after and before each chunk.

    The first half of the rows goes from the end to the start and becomes the
    second half, the other the other way: what is passed on of gradients, too.

    Args:
        sums (Tensor): Shape ``(..., H, N, 2K, V)``.
        half_decay (Tensor): Of half a chunk, shape ``(H, K, 1)``.
    """
    K = half_decay.shape[-2]
    passed = torch.empty_like(sums)
    down, up = (t.unbind(-3) for t in sums.split(K, -2))
    before, after = (t.unbind(-3) for t in passed.split(K, -2))
    before[0].zero_()
    after[-1].zero_()
    for n in range(1, len(up)):
        for new, old, own in ((before[n], before[n - 1], up[n - 1]),
                              (after[-n - 1], after[-n], down[-n])):
            into(new, torch.add, old, own)
            new.mul_(half_decay).mul_(half_decay)
    return passed


def _sum_batch(x: Tensor, *dims: int) -> Tensor:
    """Sum over the batch dimensions of ``(..., H, N, C, K)``, and ``dims``."""
    return x.sum((*range(x.ndim - 4), *dims))


def _from_edges(x: Tensor) -> Tensor:
    """The gradient of ``w``, given that of each token's exponent.

    Args:
        x (Tensor): Shape ``(..., H, N, C, 2K)``; of the first half, tokens
            are as many steps from the chunk's start as their place, of the
            second, as many from its end.
    """
    C = x.shape[-2]
    place = torch.arange(C, dtype=x.dtype, device=x.device)
    steps = torch.stack([place, place.flip(0)], -1)
    x = _sum_batch(x, -3).unflatten(-1, (2, -1))  # (H, C, 2, K)
    return torch.einsum('hcsk,cs->hk', x, steps)


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
