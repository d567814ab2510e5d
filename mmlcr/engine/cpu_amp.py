# Copyright (c) The mmlcr authors. All rights reserved.
"""Mixed precision on CPUs."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

# capabilities of x86 and ARM processors, by their names in PyTorch
BFLOAT16 = ('avx512_bf16', 'amx_bf16', 'bf16', 'sve_bf16')


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16.

    Others emulate it: with AVX2 alone, a clip takes forty times as long as in
    float32.
    """
    if hasattr(torch.cpu, 'get_capabilities'):
        found = torch.cpu.get_capabilities()
        return any(found.get(name) for name in BFLOAT16)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on CPUs, where ``AmpOptimWrapper`` refuses to run.

    bfloat16 has the range of float32, so that losses need no scaling.
    Arguments are those of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass of ``model``."""
        with super().optim_context(model), torch.autocast(
                'cpu', dtype=torch.bfloat16):
            yield
