# Copyright (c) The mmlcr authors. All rights reserved.
"""Slices with a common gradient buffer have the gradients of slices."""
from typing import List

import torch
from torch import Tensor

from mmlcr.ops.grad_slices import GradSlices, multiply

PARTS = slice(0, 2), slice(1, 4), slice(2, 2), slice(3, 5), slice(0, 5)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def weighted(parts: List[Tensor], factors: List[Tensor]) -> Tensor:
    return torch.stack([(part * factor).sum()
                        for part, factor in zip(parts, factors)]).sum()


def test_they_are_slices() -> None:
    leaf = draw(5, 2, 3)
    x = leaf.tanh()  # one more node below
    slices = GradSlices(x)
    parts = [slices[part] for part in PARTS]
    factors = [torch.randn_like(part) for part in parts]
    for part, found in zip(PARTS, parts):
        assert torch.equal(found, x[part])
    loss = weighted(parts, factors)
    expected, = torch.autograd.grad(
        weighted([x[part] for part in PARTS], factors), leaf,
        retain_graph=True)
    for _ in range(2):  # a second backward pass starts from zero
        grad, = torch.autograd.grad(loss, leaf, retain_graph=True)
        torch.testing.assert_close(grad, expected)


def test_unused_slices_have_no_gradient() -> None:
    x = draw(4, 3)
    slices = GradSlices(x)
    first, _, last = slices[0:1], slices[0:4], slices[2:4]
    (first.sum() + 2 * last.sum()).backward()
    assert x.grad is not None
    assert x.grad[:, 0].tolist() == [1, 0, 2, 2]


def test_without_gradients_they_are_views() -> None:
    x = torch.randn(4, 3)
    assert GradSlices(x)[1:3].data_ptr() == x[1].data_ptr()
    with torch.no_grad():
        assert GradSlices(draw(4, 3))[1:3].grad_fn is None


def test_products_add_their_gradients() -> None:
    x, weight = draw(5, 4, 3), draw(5, 2, 3)
    slices = GradSlices(weight)

    def loss(parts: List[Tensor]) -> Tensor:
        products = [multiply(x[part], w) for part, w in zip(PARTS, parts)]
        # a slice may be used otherwise, too
        return weighted(products, [y.detach().cos() for y in products]) + (
            parts[1]**2).sum()

    expected = torch.autograd.grad(
        loss([weight[part] for part in PARTS]), (x, weight))
    for _ in range(2):
        found = torch.autograd.grad(
            loss([slices[part] for part in PARTS]), (x, weight))
        for grad, right in zip(found, expected):
            torch.testing.assert_close(grad, right)
