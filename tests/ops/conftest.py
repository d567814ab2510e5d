# Copyright (c) The mmlcr authors. All rights reserved.
"""Comparison of implementations of the operator with the equation."""
from typing import Callable, Tuple

import pytest
import torch
from torch import Tensor

NAMES = ('y', 'r', 'k', 'v', 'w', 'u')


def with_gradients(function: Callable, inputs: Tuple[Tensor, ...],
                   weight: Tensor) -> Tuple[Tensor, ...]:
    """Return the output, and the gradients of its ``weight``-ed sum."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y = function(*leaves)
    return (y.detach(), ) + torch.autograd.grad(
        (y * weight.to(y.dtype)).sum(), leaves, materialize_grads=True)


@pytest.fixture
def assert_agrees() -> Callable[..., None]:
    """Check values and gradients of ``function`` against ``reference``.

    The reference takes the inputs in float64. ``floor``, of the largest norm
    among them, may be added to the tolerance.
    """

    def check(function: Callable, reference: Callable,
              inputs: Tuple[Tensor, ...], tolerance: float,
              floor: float = 0.) -> None:
        exact = tuple(t.double() for t in inputs)
        weight = torch.randn_like(reference(*exact))
        got = with_gradients(function, inputs, weight)
        expected = with_gradients(reference, exact, weight)
        scale = max(t.norm() for t in expected)
        for name, a, b in zip(NAMES, got, expected):
            assert a.dtype == inputs[0].dtype, name
            assert a.shape == b.shape, name
            # decays between neighbours have no gradient, to the last bit
            error = (a.double() - b).norm()
            assert error <= tolerance * b.norm() + floor * scale, name

    return check
