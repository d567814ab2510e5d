# Copyright (c) The mmlcr authors. All rights reserved.
"""Numba's operations on a token, against float64."""
import numpy as np
import pytest

rows = pytest.importorskip(
    'mmlcr.backends.numba.token_ops',
    reason='needs Numba',
    exc_type=ImportError)

# roundings of a few float32 operations
TOLERANCE = 5e-7
# the argument of the sigmoid is clamped to -40
SMALLEST = 1e-17


def everywhere() -> np.ndarray:
    """Numbers of all sizes and both signs."""
    sizes = np.logspace(-12, 38, 500)
    near = np.linspace(-45, 45, 1000)
    return np.concatenate([-sizes, sizes, near, [0., np.inf, -np.inf]]).astype(
        'float32')


def sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):
        return 1 / (1 + np.exp(-x.astype('float64')))


@pytest.mark.parametrize('name, exact', [('_sigmoid', sigmoid),
                                         ('_tanh', np.tanh)])
def test_of_one_number(name: str, exact: object) -> None:
    x = everywhere()
    function = getattr(rows, name)
    found = np.array([function(number) for number in x])
    expected = exact(x.astype('float64'))  # type: ignore[operator]
    np.testing.assert_allclose(found, expected, TOLERANCE, SMALLEST)
    assert np.isnan(function(np.float32('nan')))


def test_coupled_cell_everywhere() -> None:
    """Also with closed gates whose input overflows."""
    x = everywhere()[::7]
    A, logit = (t.ravel().copy() for t in np.meshgrid(x, x))
    before = np.linspace(-1, 1, A.size, dtype='float32')
    c, h = before.copy(), np.empty_like(before)
    rows.coupled_cell(A, logit, np.full_like(A, 0.5), c, h)
    gate = sigmoid(logit + np.float32(0.5))
    cell = gate * before + (1 - gate) * np.tanh(A.astype('float64'))
    # of a sum, whose terms are at most one
    np.testing.assert_allclose(c, cell, 0, TOLERANCE)
    np.testing.assert_allclose(h, np.tanh(c.astype('float64')) * sigmoid(A),
                               TOLERANCE, SMALLEST)


@pytest.mark.parametrize('bound', [2., 1e30])
def test_paper_cell_stays_in_its_bound(bound: float) -> None:
    A, e = everywhere(), everywhere()[::-1].copy()
    e[~np.isfinite(e)] = 1.
    before = np.linspace(-2, 2, A.size, dtype='float32')
    c, h = before.copy(), np.empty_like(before)
    rows.paper_cell(A, e, np.float32(bound), c, h)
    cell = e.astype('float64') * (np.tanh(A.astype('float64')) +
                                  before) + before
    assert (abs(c) <= np.float32(bound)).all()
    np.testing.assert_allclose(c, cell.clip(-bound, bound), 2e-6, 2e-6)
    np.testing.assert_allclose(h, np.tanh(c.astype('float64')) * sigmoid(A),
                               TOLERANCE, SMALLEST)


def test_decays_everywhere() -> None:
    x, base = everywhere(), np.float32(0.25)
    x = x[np.isfinite(x)]
    found = x.copy()
    rows.decay(found, np.full_like(x, base))
    log = np.minimum((x + base).astype('float64'), 10.)
    # the rounding of exp(log), at most 40, is one of the result's logarithm
    np.testing.assert_allclose(found, np.exp(-np.exp(log)), 40 * 2.**-24,
                               SMALLEST)
    missing = np.full(1, np.nan, 'float32')
    rows.decay(missing, missing)
    assert np.isnan(missing)


def test_sums_and_gates() -> None:
    """The operations of Vision-RWKV's layers that write to an input."""
    generator = np.random.default_rng(0)
    x, y, z, mu = generator.standard_normal((4, 37)).astype('float32')
    out = np.empty_like(x)
    rows.add_product(x, y, z, out)
    np.testing.assert_allclose(out, x + z * y, 1e-6)
    total = out.copy()
    rows.accumulate(x, y, total)
    np.testing.assert_allclose(total, out + x * y, 1e-5, 1e-6)
    share = z.copy()
    rows.add_step(x, y, mu, share)
    np.testing.assert_allclose(share, x + y * (mu + z), 1e-5, 1e-6)
    gated = y.copy()
    rows.gate(x, gated)
    np.testing.assert_allclose(gated, y * sigmoid(x), 1e-6)
    rows.tanh(x)
    assert (abs(x) < 1).all()
