# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV in chunks: eq. (6) at a cost linear in the number of tokens.

The tokens are cut into chunks of ``C``. Within a chunk an exact table of
decays is used; across chunks two running states of shape ``(K, V)``, one for
the tokens before the chunk and one for those after it. No exponent is ever
positive, so that strong decays neither overflow nor lose their gradient.

Keys and values of LCR do not depend on its memory, receptance does. The
operator is therefore in two halves: :func:`bi_wkv_memory` sums up keys and
values, of all frames at once, and :func:`bi_wkv_read` asks one frame's sums.
"""
import functools
import math
from typing import Any, Callable, List, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

MAX_CHUNK_SIZE = 16


class BiWKVMemory(NamedTuple):
    """What :func:`bi_wkv_read` needs of the keys and values.

    ``N`` chunks of ``C`` tokens; ``...`` are the batch dimensions.
    """
    keys: Tensor  # (..., H, N, C, C, K): key of i as token l weighs it
    values: Tensor  # (..., H, N, C, V)
    states: Tensor  # (..., H, N, 2K, V): tokens before, after the chunk
    edge_decay: Tensor  # (H, C, 2K): from the chunk's edges to a token
    num_tokens: int

    def unbind(self) -> 'List[BiWKVMemory]':
        """One memory for every index of the first batch dimension.

        Cheaper to differentiate than indexing, whose gradient is as large as
        all of them.
        """
        return [
            self._replace(keys=keys, values=values, states=states)
            for keys, values, states in zip(self.keys, self.values,
                                            self.states)
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
    k, v = _to_chunks(k), _to_chunks(v)  # (..., H, N, C, K)
    C = k.shape[-2]

    steps = torch.arange(C, dtype=dtype, device=w.device)
    decay = torch.exp(steps[:, None] * w[:, None])  # (H, C, K)
    distance = (steps[:, None] - steps).abs().long()
    table = torch.cat([u[:, None], decay], dim=1)[:, distance]  # (H, C, C, K)
    from_start, from_end = decay, decay.flip(1)

    before = torch.einsum('...hnck,hck,...hncv->...hnkv', k, from_end, v)
    after = torch.einsum('...hnck,hck,...hncv->...hnkv', k, from_start, v)
    chunk_decay = torch.exp(C * w)[..., None]  # (H, K, 1)
    states = torch.cat(
        [_running(before, chunk_decay),
         _running(after, chunk_decay, True)], -2)
    return BiWKVMemory(
        keys=k[..., None, :, :] * table[:, None],
        values=v,
        states=states,
        edge_decay=torch.cat([from_start, from_end], dim=-1),
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
    r = _to_chunks(r.to(memory.values.dtype))  # (..., H, N, C, K)
    score = (memory.keys @ r[..., None]).squeeze(-1)  # (..., H, N, C, C)
    edge = torch.cat([r, r], dim=-1) * memory.edge_decay[:, None]
    y = score @ memory.values + edge @ memory.states
    return rearrange(y, '... h n c v -> ... (n c) h v')[
        ..., :memory.num_tokens, :, :]


def _to_chunks(x: Tensor) -> Tensor:
    """``(..., L, H, K)`` to ``(..., H, N, C, K)``, zeros after the end.

    Of all divisions into the fewest chunks, the one with the least padding.
    """
    L = x.shape[-3]
    num_chunks = math.ceil(L / MAX_CHUNK_SIZE)
    size = math.ceil(L / num_chunks)
    x = F.pad(x, (0, 0, 0, 0, 0, num_chunks * size - L))
    return rearrange(x, '... (n c) h k -> ... h n c k', c=size)


def _running(states: Tensor, decay: Tensor, reverse: bool = False) -> Tensor:
    """Decayed sum of the chunks before (after, in reverse) each chunk."""
    chunks = states.unbind(-3)
    order = range(len(chunks) - 1, -1, -1) if reverse else range(len(chunks))
    running = torch.zeros_like(chunks[0])
    sums = [running] * len(chunks)
    for n in order:
        sums[n] = running
        running = running * decay + chunks[n]
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
