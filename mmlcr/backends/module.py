# Copyright (c) The mmlcr authors. All rights reserved.
"""The definition of the model: the layers' own ``forward``, frame by frame.

Hooks, adapters, parametrizations, quantized modules and FSDP units take
effect here, as no module is bypassed.
"""
from typing import Any, List, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmlcr.layers import Geometry, LayerState, Prompt
from mmlcr.ops import TokenLayout
from .base import (
    Backend,
    StackOutput,
    Tokens,
    bound_gradients,
    register_backend,
)


class ModuleExecutor:
    """Calls the layers for every frame.

    Args:
        model (LCR): The model.
        layers (Sequence, optional): Consecutive layers of the model. Defaults
            to None: all.
    """
    takes_bytes = False

    def __init__(self,
                 model: Any,
                 layers: Optional[Sequence[nn.Module]] = None) -> None:
        self.model = model
        self.layers = model.layers if layers is None else layers

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor]) -> Tokens:
        """See :class:`mmlcr.backends.Executor`."""
        return self.model.embed(clip, layout, previous)

    def run_layers(self,
                   tokens: Tokens,
                   e_norm_before: Optional[Tensor],
                   state: Optional[LayerState],
                   geometry: Geometry,
                   out: Optional[LayerState] = None) -> StackOutput:
        """See :class:`mmlcr.backends.Executor`."""
        layers = self.layers
        if state is None:
            states = [LayerState.zeros(tokens.x[0]) for _ in layers]
        else:
            states = [
                LayerState._make(None if t is None else t[i] for t in state)
                for i in range(len(layers))
            ]
        outputs: List[Tensor] = []
        cells: List[Tensor] = []
        for x, e, e_norm in zip(*tokens):
            prompt = Prompt(e, e_norm, e_norm_before)
            for i, layer in enumerate(layers):
                x, states[i] = self._run(layer, x, prompt, states[i], geometry)
                bound_gradients(states[i])
            if e_norm_before is not None:
                e_norm_before = e_norm
            outputs.append(x)
            cells.append(states[-1].c)
        tensors = [
            None if t[0] is None else torch.stack(t) for t in zip(*states)
        ]
        return StackOutput(outputs, cells, LayerState._make(tensors))

    def _run(self, layer: Any, *args: Any) -> Any:
        if self.model.with_cp and torch.is_grad_enabled():
            return checkpoint(layer, *args, use_reentrant=False)
        return layer(*args)


class ModuleBackend(Backend):
    """Supports every model and clip; the slowest, so the last resort."""
    name = 'module'
    priority = 0
    follows_parameters = True

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Return None: everything is supported."""
        return None

    def build(self, model: Any, num_tokens: int) -> ModuleExecutor:
        """Build an executor that calls the model's modules."""
        return ModuleExecutor(model)


register_backend(ModuleBackend())
