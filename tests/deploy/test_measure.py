# Copyright (c) The mmlcr authors. All rights reserved.
"""Counting of multiply-adds, and timing."""
import time

import torch
from torch import Tensor

from mmlcr.deploy import Case, count_multiply_adds, measure


def test_all_products_are_counted() -> None:
    """Products of views and products with ``out`` count, too."""
    x, w = torch.randn(3, 7, 10), torch.randn(3, 5, 8)
    picture, kernel = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 4, 4)

    def run() -> Tensor:
        y = torch.bmm(x[..., 1:9].exp(), w.mT)
        torch.bmm(x[..., 1:9], w.mT, out=y)
        y.baddbmm_(x[..., :8], w.mT)
        return torch.conv2d(picture, kernel, stride=4).sum() + y.sum()

    products, convolution = 3 * 3 * 7 * 5 * 8, 2 * 4 * 4 * 3 * 4 * 4
    assert count_multiply_adds(run) == products + convolution


def test_medians_belong_to_their_cases() -> None:
    cases = [
        Case('part', name, lambda s=seconds: time.sleep(s), 'short', '')
        for name, seconds in (('short', 0.01), ('long', 0.05))
    ]
    medians = measure(cases, repeats=2)
    assert 0.01 <= medians['part', 'short'] < medians['part', 'long']
