# Copyright (c) The mmlcr authors. All rights reserved.
"""Gradients of LCR, and the memory that they need."""
import weakref
from typing import Any, Callable, Dict, Optional

import pytest
import torch
from lcr_cases import (
    DIFFERENT,
    FLOAT64_TOLERANCE,
    OPTIONS,
    TINY,
    build,
    draw_clip,
    draw_mask,
    is_vrwkv6,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmlcr.models import LCR


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', OPTIONS)
def test_gradients_reach_every_weight(name: str, masked: bool,
                                      redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name])
    mask = draw_mask(2, 5, 4, 9) if masked else None
    model(draw_clip(T=3), mask).square().sum().backward()
    missed = [
        name for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    # Keys and values come from the edge prompt, which is the same for all
    # layers: x, h and c of the patches never reach the CLS token. So with
    # eq. (11), the two mixes that only affect patches have no gradient.
    reads_cls = OPTIONS[name].get('readout', TINY['readout']) == 'cls'
    unread = ('mu_x', 'mu_a') if reads_cls else ()
    # In Vision-RWKV's layers patches read patches, but no token reads CLS.
    if is_vrwkv6(name) and OPTIONS[name]['readout'] == 'mean':
        unread = ('cls_token', )
    assert missed == [
        name for name, _ in model.named_parameters() if name.endswith(unread)
    ]
    not_finite = [
        name for name, weight in model.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    assert not_finite == []


class LiveMemory(TorchDispatchMode):
    """Count the bytes of living tensors, now and at the peak.

    Counted by storage, so that views and the machine do not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.storages: Dict[int, Any] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: Optional[dict] = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.storages:
            return

        def gone(_: Any) -> None:
            del self.storages[key]
            self.now -= size

        self.storages[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


# of the activation memory without checkpointing
CHECKPOINTED_MEMORY = 0.4


def test_checkpointing_gives_the_same_gradients_for_less_memory(
        redraw: Callable, relative_error: Callable) -> None:
    model = build(
        redraw, torch.float64, num_layers=8, supervised_frames=2,
        readout='mean')
    clip = draw_clip(T=6, height=40, width=40, dtype=torch.float64)
    mask = draw_mask(2, 10, 10, 50)
    gradients, memory = [], []
    for with_cp in (False, True):
        model.train().with_cp = with_cp
        with LiveMemory() as live:
            model(clip, mask).square().sum().backward()
        memory.append(live.peak)
        gradients.append([weight.grad for weight in model.parameters()])
        model.zero_grad()
    for a, b in zip(*gradients):
        assert relative_error(a, b) < FLOAT64_TOLERANCE
    assert memory[1] < CHECKPOINTED_MEMORY * memory[0], memory


def test_training_starts_from_the_image_alone(redraw: Callable,
                                              relative_error: Callable
                                              ) -> None:
    """Edges are added by a convolution that starts at zero."""
    model = LCR(**TINY)
    model.init_weights()
    clip, other = draw_clip(), draw_clip()
    other[:, :3] = clip[:, :3]
    assert torch.equal(model(clip), model(other))
    model(clip).square().sum().backward()
    assert model.zero_conv.weight.grad.any()  # and learns to use them
    redraw(model)
    assert relative_error(model(clip), model(other)) > DIFFERENT
