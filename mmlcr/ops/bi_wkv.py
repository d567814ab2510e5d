# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV in chunks: eq. (6) at a cost linear in the number of tokens.

The tokens are cut into chunks of ``C``. Across chunks, two running states of
shape ``(K, V)`` hold the tokens before a chunk and those after it, decayed to
its edges. Within a chunk, with its middle at ``m``, the decay from token ``i``
to a later token ``l`` is split into one factor for each,

``exp((l - i - 1) w) = exp((l - m - 1/2) w) exp((m - i - 1/2) w)``,

so that all pairs are one matrix product; for an earlier token likewise. One of
the factors is above one: a chunk is as long as keeps it in range, so that
strong decays are slower and as exact as weak ones.

Keys and values of LCR do not depend on its memory, receptance does. The
operator is therefore in two halves: :func:`bi_wkv_memory` sums up keys and
values, of all frames at once, and :func:`bi_wkv_read` asks one frame's sums.
"""
import functools
import math
from typing import Any, Callable, List, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Longer chunks have fewer states to pass on, and more pairs.
MAX_CHUNK_SIZE = 48


class ChunkDecays(NamedTuple):
    """Decays from place to place of a chunk, the same for all chunks."""
    w: Tensor  # (H, K), of at most what a chunk of one token holds
    u: Tensor  # (H, K)
    forth: Tensor  # (H, 1, C, K): exp((l - m - 1/2) w)
    back: Tensor  # (H, 1, C, K): exp((m - l - 1/2) w)
    from_start: Tensor  # (H, 1, C, K): from the chunk's first token
    from_end: Tensor  # (H, 1, C, K): from its last


class BiWKVMemory(NamedTuple):
    """What :func:`bi_wkv_read` needs of the keys and values.

    ``N`` chunks of ``C`` tokens; ``...`` are the batch dimensions.
    """
    keys: Tensor  # (..., H, N, C, K)
    keys_back: Tensor  # (..., H, N, C, K), as later tokens weigh them
    keys_forth: Tensor  # (..., H, N, C, K), as earlier tokens weigh them
    values: Tensor  # (..., H, N, C, V)
    before: Tensor  # (..., H, N, K, V): state of the tokens before the chunk
    after: Tensor  # (..., H, N, K, V): of those after it
    decays: ChunkDecays
    num_tokens: int

    def unbind(self) -> 'List[BiWKVMemory]':
        """One memory for every index of the first batch dimension.

        Cheaper to differentiate than indexing, whose gradient is as large as
        all of them.
        """
        return [
            self._replace(**dict(zip(self._fields, frame)))
            for frame in zip(*self[:-2])  # all but decays, num_tokens
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
    return bi_wkv_read(r, bi_wkv_memory(k, v, w, u)).to(v.dtype)


def _full_precision(function: Callable) -> Callable:
    """Keep autocast out of a function of the operator."""

    @functools.wraps(function)
    def wrapper(x: Tensor, *args: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *args)

    return wrapper


@_full_precision
def bi_wkv_memory(k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> BiWKVMemory:
    """Sum up keys and values for :func:`bi_wkv_read`.

    Args:
        k (Tensor): Key, shape ``(..., L, H, K)``.
        v (Tensor): Value, shape ``(..., L, H, V)``.
        w (Tensor): Log-decay a token, ``<= 0``, shape ``(H, K)``.
        u (Tensor): Bonus of the token itself, shape ``(H, K)``.

    Returns:
        BiWKVMemory: The sums, in float32 or wider.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    k, v, w, u = (t.to(dtype) for t in (k, v, w, u))
    L = k.shape[-3]
    C, w = _chunk_size(w, L)
    decays = _chunk_decays(w, u, C)
    k, v = _to_chunks(k, C), _to_chunks(v, C)  # (..., H, N, C, K)

    chunk_decay = torch.exp(C * w)[..., None]  # (H, K, 1)
    before = (k * decays.from_end).mT @ v  # (..., H, N, K, V)
    after = (k * decays.from_start).mT @ v
    return BiWKVMemory(
        keys=k,
        keys_back=k.detach() * decays.back,
        keys_forth=k.detach() * decays.forth,
        values=v,
        before=_running(before, chunk_decay),
        after=_running(after, chunk_decay, True),
        decays=decays,
        num_tokens=L)


@_full_precision
def bi_wkv_read(r: Tensor, memory: BiWKVMemory) -> Tensor:
    """Read eq. (6) out of a memory.

    Args:
        r (Tensor): Receptance, shape ``(..., L, H, K)``.
        memory (BiWKVMemory): Sums over the same ``...``.

    Returns:
        Tensor: Output, shape ``(..., L, H, V)``, in the memory's dtype.
    """
    values, decays = memory.values, memory.decays
    r = _to_chunks(r.to(values.dtype), values.shape[-2])  # (..., H, N, C, K)
    score = _ChunkScore.apply(r, memory.keys, decays.w, decays.u, decays,
                              memory.keys_back, memory.keys_forth)
    y = (
        score @ values + (r * decays.from_start) @ memory.before +
        (r * decays.from_end) @ memory.after)
    y = y.flatten(-3, -2)[..., :memory.num_tokens, :]  # (..., H, L, V)
    return y.transpose(-3, -2)


class _ChunkScore(torch.autograd.Function):
    """What the tokens of a chunk weigh each other's values by.

    ``(..., H, N, C, K)`` to ``(..., H, N, C, C)``, rows ask columns. A
    function of its own for the gradient of ``w``: of neighbours, which do not
    decay, those of the two factors would cancel, and drown the rest.
    """

    @staticmethod
    def forward(ctx: Any, r: Tensor, k: Tensor, w: Tensor, u: Tensor,
                decays: ChunkDecays, keys_back: Tensor,
                keys_forth: Tensor) -> Tensor:
        ctx.save_for_backward(r, k, u, decays.forth, decays.back, keys_back,
                              keys_forth)
        score = ((r * decays.forth) @ keys_back.mT).tril_(-1)
        score += ((r * decays.back) @ keys_forth.mT).triu_(1)
        score.diagonal(dim1=-2, dim2=-1).copy_((r * u[:, None, None] *
                                                k).sum(-1))
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple:
        r, k, u, forth, back, keys_back, keys_forth = ctx.saved_tensors
        C = grad.shape[-1]
        place = torch.arange(C, dtype=grad.dtype, device=grad.device)
        steps = (place[:, None] - place).abs() - 1  # factor of w for a pair
        later, earlier = grad.tril(-1), grad.triu(1)
        itself = grad.diagonal(dim1=-2, dim2=-1)[..., None]
        u = u[:, None, None]

        r_forth, r_back = r * forth, r * back
        grad_r = (
            later @ keys_back * forth + earlier @ keys_forth * back +
            itself * k * u)
        grad_k = (
            later.mT @ r_forth * back + earlier.mT @ r_back * forth +
            itself * r * u)
        over = (*range(grad.ndim - 4), -3, -2)  # batch, chunks, tokens
        grad_w = ((steps * later) @ keys_back * r_forth +
                  (steps * earlier) @ keys_forth * r_back).sum(over)
        grad_u = (itself * r * k).sum(over)
        return grad_r, grad_k, grad_w, grad_u, None, None, None


def _chunk_size(w: Tensor, num_tokens: int) -> Tuple[int, Tensor]:
    """The longest chunk whose factors stay in range, for decays that do.

    The product of two factors is up to ``exp(-C w)``, which must not
    overflow. Of all divisions into the fewest chunks it is the one with the
    least padding. For a chunk of one token ``w`` must be in range itself: what
    is cut off there decays to less than the smallest number.
    """
    limit = 0.9 * math.log(torch.finfo(w.dtype).max)
    strongest = -w.detach().min().item()
    longest = MAX_CHUNK_SIZE
    if strongest * MAX_CHUNK_SIZE > limit:
        longest = max(int(limit / strongest), 1)
    num_chunks = math.ceil(num_tokens / longest)
    return math.ceil(num_tokens / num_chunks), w.clamp(min=-limit)


def _chunk_decays(w: Tensor, u: Tensor, size: int) -> ChunkDecays:
    place = torch.arange(size, dtype=w.dtype, device=w.device)
    steps = w[:, None, None] * place[:, None]  # (H, 1, C, K)
    from_start = torch.exp(steps)
    with torch.no_grad():  # their gradient is _ChunkScore's
        middle = (size - 1) / 2
        forth = torch.exp((place[:, None] - middle - 0.5) * w[:, None, None])
        back = forth.flip(-2)
    return ChunkDecays(w, u, forth, back, from_start, from_start.flip(-2))


def _to_chunks(x: Tensor, size: int) -> Tensor:
    """``(..., L, H, K)`` to ``(..., H, N, C, K)``, zeros after the end."""
    x = x.transpose(-3, -2)  # (..., H, L, K)
    missing = -x.shape[-2] % size
    if missing:
        x = F.pad(x, (0, 0, 0, missing))
    return x.contiguous().unflatten(-2, (-1, size))


def _running(states: Tensor, decay: Tensor, reverse: bool = False) -> Tensor:
    """Decayed sum of the chunks before (after, in reverse) each chunk."""
    chunks = states.unbind(-3)
    order = range(len(chunks) - 1, -1, -1) if reverse else range(len(chunks))
    running = torch.zeros_like(chunks[0])
    sums = [running] * len(chunks)
    for n in order:
        sums[n] = running
        running = torch.addcmul(chunks[n], running, decay)
    return torch.stack(sums, dim=-3)


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
