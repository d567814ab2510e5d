# Copyright (c) The mmlcr authors. All rights reserved.
"""Methods are excluded from compilation only once."""
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmlcr.compat import exclude_from_compile
from mmlcr.models import LCR
from mmlcr.models.compiling import prepare_for_compile


@pytest.mark.parametrize('recursive', [True, False])
def test_a_second_call_has_no_effect(recursive: bool) -> None:
    class Owner:

        def method(self, x: Any) -> Any:
            return x + 1

    exclude_from_compile(Owner, 'method', recursive=recursive)
    once = Owner.method
    exclude_from_compile(Owner, 'method', recursive=recursive)
    assert Owner.method is once
    assert Owner().method(1) == 2

    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    def call(x: Any) -> Any:
        return Owner().method(x * 2) * 3

    torch._dynamo.reset()
    assert torch.compile(call, backend=backend)(torch.ones(())) == 9
    assert all('add' not in node.name for graph in graphs
               for node in graph.graph.nodes)


def test_prepare_for_compile_wraps_once(monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    monkeypatch.setattr(OptimWrapper, 'update_params',
                        OptimWrapper.update_params)
    monkeypatch.setattr(LCR, '_run', LCR._run)
    prepare_for_compile()
    methods = OptimWrapper.update_params, LCR._run
    prepare_for_compile()
    assert (OptimWrapper.update_params, LCR._run) == methods
