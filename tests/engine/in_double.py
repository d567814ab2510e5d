# Copyright (c) The mmlcr authors. All rights reserved.
"""Runs tools/train.py, optionally in float64; saves the first gradients."""
import os
import runpy
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

import mmlcr  # noqa: F401  repairs the published stack before all else


def in_double() -> None:
    """Make runners build models in float64."""
    build_model = Runner.build_model

    def build(self: Runner, model: Any) -> torch.nn.Module:
        return build_model(self, model).double()

    Runner.build_model = build


def keep_gradients(path: str) -> None:
    """Save the gradients of the first step, before they are clipped."""
    clip = OptimWrapper._clip_grad

    def clip_grad(self: OptimWrapper) -> None:
        if int(os.environ.get('RANK', 0)) == 0 and not os.path.exists(path):
            groups = self.optimizer.param_groups
            torch.save([p.grad for group in groups for p in group['params']],
                       path)
        clip(self)

    OptimWrapper._clip_grad = clip_grad


if __name__ == '__main__':
    if os.environ['PRECISION'] == 'float64':
        in_double()
    keep_gradients(os.environ['GRADIENTS'])
    tool = Path(__file__).resolve().parents[2] / 'tools/train.py'
    runpy.run_path(str(tool), run_name='__main__')
