# Copyright (c) The mmlcr authors. All rights reserved.
"""Windows are slices, with the gradients of slices."""
import torch

from mmlcr.ops.windows import windows

BOUNDS = (0, 2), (1, 4), (2, 2), (3, 5), (0, 5)


def test_windows_are_slices() -> None:
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    found = windows(x, BOUNDS)
    factors = [torch.randn_like(part) for part in found]
    for (start, stop), part in zip(BOUNDS, found):
        assert torch.equal(part, x[start:stop])
    grad, = torch.autograd.grad(
        sum((part * factor).sum() for part, factor in zip(found, factors)), x)
    expected, = torch.autograd.grad(
        sum((x[start:stop] * factor).sum()
            for (start, stop), factor in zip(BOUNDS, factors)), x)
    torch.testing.assert_close(grad, expected)


def test_unused_windows_have_no_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    first, _, last = windows(x, [(0, 1), (0, 4), (2, 4)])
    grad, = torch.autograd.grad(first.sum() + 2 * last.sum(), x)
    assert grad[:, 0].tolist() == [1, 0, 2, 2]


def test_windows_share_memory_without_gradients() -> None:
    x = torch.randn(4, 3)
    part, = windows(x, [(1, 3)])
    assert part.data_ptr() == x[1].data_ptr()
