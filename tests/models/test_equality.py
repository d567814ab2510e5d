# Copyright (c) The mmlcr authors. All rights reserved.
"""Every backend equals the float64 reference, with every set of options."""
import pytest
import torch
from equality import KINDS, OPTIONS, SLOW, check, make_case

from mmlcr.backends import backend_names

BACKENDS = [
    pytest.param(name, marks=pytest.mark.long) if name in SLOW else name
    for name in ['auto', *backend_names()]
]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32],
                         ids=['float64', 'float32'])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('backend', BACKENDS)
def test_backend_is_the_reference(backend: str, options: str, kind: str,
                                  dtype: torch.dtype) -> None:
    check(backend, options, kind, dtype)


@pytest.mark.parametrize('options', OPTIONS)
def test_cases_tell_wrong_results_apart(options: str) -> None:
    """Results depend on frames, masks and samples; gradients are not zero."""
    case = make_case(options)
    for features in (case.features, case.masked, case.of_bytes):
        assert features.isfinite().all()
        change = (features[:, 1:] - features[:, :-1]).norm()
        assert change > 0.01 * features.norm()
        assert (features[0] - features[1]).norm() > 0.01 * features.norm()
    assert (case.features - case.masked).norm() > 0.01 * case.masked.norm()
    gradients = case.gradients.values()
    assert sum(bool(g.any()) for g in gradients) > 0.8 * len(gradients)
