# Copyright (c) The mmlcr authors. All rights reserved.
"""Split a model at a layer, for gradients by the layer's input."""
from typing import Callable, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmlcr.backends import StackOutput, Tokens
from mmlcr.backends.module import ModuleExecutor
from mmlcr.models.checks import check_clip
from mmlcr.models.lcr import LCR


def split_at_layer(
    model: LCR, clip: Tensor, layer: int
) -> Tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Return the input of a layer, and the function from it to the feature.

    Both parts call the layers' own ``forward``, which is differentiable.

    Args:
        model (LCR): The backbone.
        clip (Tensor): Clip, see :meth:`mmlcr.models.LCR.forward`.
        layer (int): Index of the layer; layer 0 reads the stem's tokens.

    Returns:
        tuple[Tensor, Tensor, Callable]: The layer's input ``x`` and the edge
        prompt ``e``, both ``(T, B, L, D)``, and a function from ``x`` and
        ``e`` to the feature of the clip, ``(B, 2D)``.

    Raises:
        ValueError: If there is no such layer, or the clip has a wrong shape.
    """
    check_clip(model, clip)
    if not 0 <= layer < len(model.layers):
        raise ValueError(f'there is no layer {layer}, only 0 to '
                         f'{len(model.layers) - 1}')
    layout = model.layout(clip)

    def run(layers: Sequence[nn.Module], x: Tensor,
            e: Tensor) -> StackOutput:
        e_norm = model.norm_e(e)
        before = e_norm[0] if model.temporal_shift else None
        return ModuleExecutor(model, layers).run_layers(
            Tokens(x, e, e_norm), before, None, model.geometry(layout, x))

    def feature(x: Tensor, e: Tensor) -> Tensor:
        output = run(model.layers[layer:], x, e)
        return model.read(output.x[-1], output.c[-1])

    x, e, _ = model.embed(model.normalized(clip), layout)
    if layer:
        x = torch.stack([*run(model.layers[:layer], x, e).x])
    return x, e, feature
