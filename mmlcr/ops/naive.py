# Copyright (c) The mmlcr authors. All rights reserved.
"""Bi-WKV token by token: eq. (6) as it is written; slow.

Every faster form is tested against this definition.
"""
import torch
from torch import Tensor


def bi_wkv_naive(r: Tensor, k: Tensor, v: Tensor, w: Tensor,
                 u: Tensor) -> Tensor:
    """Bidirectional WKV over the tokens of a frame, eq. (6).

    ``y_l = r_l (diag(u) k_l^T v_l
    + sum_{i != l} diag(exp((|l - i| - 1) w)) k_i^T v_i)``

    Args:
        r (Tensor): Receptance, shape ``(B, L, H, K)``.
        k (Tensor): Key, shape ``(B, L, H, K)``.
        v (Tensor): Value, shape ``(B, L, H, V)``.
        w (Tensor): Log-decay per token, ``<= 0``, shape ``(H, K)``, or one
            for each token, shape ``(B, L, H, K)``: then the exponent is their
            sum over the tokens strictly between ``i`` and ``l``.
        u (Tensor): Bonus of the token itself, shape ``(H, K)``.

    Returns:
        Tensor: Output, shape ``(B, L, H, V)``, in the dtype of ``v``. Sums
        are in float32, or in float64 if ``v`` is.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    r, k, values, w, u = (t.to(dtype) for t in (r, k, v, w, u))
    L = r.shape[1]
    position = torch.arange(L, device=r.device)
    outputs = []
    for l in range(L):  # noqa: E741
        distance = (position - l).abs()
        if w.ndim == 2:
            # the clamp keeps exp() finite at i = l, where u is used instead
            passed = (distance - 1).clamp(min=0)[:, None, None] * w
            passed = passed.expand(len(r), -1, -1, -1)
        else:
            passed = _strictly_between(w, l)
        weight = torch.where((distance == 0)[:, None, None], u, passed.exp())
        score = torch.einsum('bhk,bihk,bihk->bih', r[:, l], weight, k)
        outputs.append(torch.einsum('bih,bihv->bhv', score, values))
    return torch.stack(outputs, dim=1).to(v.dtype)


def _strictly_between(w: Tensor, l: int) -> Tensor:
    """Sum ``w`` over the tokens strictly between each token and ``l``."""
    sums = [torch.zeros_like(w[:, 0])] * w.shape[1]
    for i in range(l - 2, -1, -1):
        sums[i] = sums[i + 1] + w[:, i + 1]
    for i in range(l + 2, w.shape[1]):
        sums[i] = sums[i - 1] + w[:, i - 1]
    return torch.stack(sums, dim=1)
