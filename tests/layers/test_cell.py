# Copyright (c) The mmlcr authors. All rights reserved.
"""The cells equal their formulas, and stay finite."""
import math
from typing import Optional

import pytest
import torch
from torch import Tensor

from mmlcr.layers import FINITE_BOUND, Cell, build_cell
from mmlcr.layers.cell import hidden_state

# one rounding of float64 an operation
TOLERANCE = 1e-14
# float32: |c| <= 1 holds up to the rounding of the interpolation
ROUNDING = 1e-6
CELLS = [('paper', None), ('paper', 10.), ('coupled', None)]
CELL_IDS = ['paper', 'paper-clip10', 'coupled']


def gate(cell: Cell, e: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the forget gate, with weights ``(n, D, D)`` if it has any."""
    if not cell.has_weights:
        return cell.activate(e)
    logit = torch.einsum('nblj,nij->nbli', e, weight) + bias[:, None, None]
    return cell.activate(logit)


def test_paper_cell_is_eq_9() -> None:
    A, e, c = torch.randn(3, 2, 5, 8, dtype=torch.float64)
    cell = build_cell('paper', None)
    new = cell(A, cell.activate(e), c)
    for index in range(A.numel()):
        a_, e_, c_ = (t.flatten()[index].item() for t in (A, e, c))
        expected = e_ * (math.tanh(a_) + c_) + c_
        assert abs(new.flatten()[index].item() - expected) < TOLERANCE


def test_coupled_cell_is_an_lstms() -> None:
    cell = build_cell('coupled', None)
    A, e, c = torch.randn(3, 3, 2, 5, 8, dtype=torch.float64)
    weight, bias = torch.randn(3, 8, 8).double(), torch.randn(3, 8).double()
    new = cell(A, gate(cell, e, weight, bias), c)
    forget = torch.stack([
        1 / (1 + torch.exp(-(e_i @ weight_i.T + bias_i)))
        for e_i, weight_i, bias_i in zip(e, weight, bias)
    ])
    expected = forget * c + (1 - forget) * torch.tanh(A)
    assert (new - expected).abs().max() < TOLERANCE


def test_hidden_state_is_eq_10() -> None:
    A, c = torch.randn(2, 2, 5, 8, dtype=torch.float64)
    expected = torch.tanh(c) / (1 + torch.exp(-A))
    assert (hidden_state(A, c) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize('size', [5., 1e3, 1e20], ids=['5', '1e3', '1e20'])
@pytest.mark.parametrize('kind, clip', CELLS, ids=CELL_IDS)
def test_endless_stream_stays_finite(kind: str, clip: Optional[float],
                                     size: float) -> None:
    """5,000 steps, in which equation (9) without a clamp overflows."""
    cell = build_cell(kind, clip)
    bound = {None: FINITE_BOUND, 10.: 10.}[clip]
    if kind == 'coupled':
        bound = 1 + ROUNDING
    weights = torch.randn(1, 8, 8), torch.randn(1, 8)
    c = literal = torch.zeros(1, 1, 4, 8)
    with torch.no_grad():
        for _ in range(5000):
            A, e = size * torch.randn(2, 1, 1, 4, 8)
            c = cell(A, gate(cell, e, *weights), c)
            literal = e * (torch.tanh(A) + literal) + literal
    h = hidden_state(A, c)
    assert c.isfinite().all() and h.isfinite().all()
    assert c.abs().max() <= bound
    assert h.abs().max() <= 1
    assert not literal.isfinite().all()  # the inputs are such a stream


@pytest.mark.parametrize('kind, clip', CELLS, ids=CELL_IDS)
def test_gradients_stay_finite(kind: str, clip: Optional[float]) -> None:
    cell = build_cell(kind, clip)
    A, e = (1e3 * torch.randn(2, 300, 1, 1, 4, 8)).requires_grad_()
    weights = torch.randn(1, 8, 8), torch.randn(1, 8)
    c = torch.zeros(1, 1, 4, 8)
    for A_t, e_t in zip(A, e):
        c = cell(A_t, gate(cell, e_t, *weights), c)
    gradients = torch.autograd.grad(hidden_state(A[-1], c).sum(), (A, e))
    for gradient in gradients:
        assert gradient.isfinite().all()
    assert gradients[0].any()


def test_clip_clamps_the_paper_cell() -> None:
    A = torch.full((1, 1, 2), 50.)
    e = torch.tensor([[[100., -100.]]])
    c = build_cell('paper', 3.)(A, e, torch.ones(1, 1, 2))
    assert c.tolist() == [[[3., -3.]]]


@pytest.mark.parametrize('clip', [0., -1., math.nan])
def test_clip_must_be_positive(clip: float) -> None:
    with pytest.raises(ValueError, match=f'cell_clip.*{clip}'):
        build_cell('paper', clip)


def test_unknown_cell_is_named() -> None:
    with pytest.raises(ValueError, match="'lstm'"):
        build_cell('lstm', None)
