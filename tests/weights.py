# Copyright (c) The mmlcr authors. All rights reserved.
"""Weights for tests, none of which is zero or one, so that every term counts.

As initialised, the edge prompt is zero and so are the biases: a fault there
would not show.
"""
import torch
from torch import nn


def draw_weights(module: nn.Module,
                 matrices: float = 1.,
                 vectors: float = 0.5) -> nn.Module:
    """Draw all weights of a module anew.

    Args:
        module (nn.Module): Changed in place.
        matrices (float): Deviation of matrices, over the one that keeps the
            variance.
        vectors (float): Deviation of biases and of all other weights.

    Returns:
        nn.Module: The module.
    """
    with torch.no_grad():
        for name, weight in module.named_parameters():
            leaf = name.rsplit('.', 1)[-1]
            if leaf.startswith('mu'):
                weight.uniform_(0, 1)
            elif leaf == 'decay':
                weight.uniform_(-4, 1)
            elif 'norm' in name and leaf == 'weight':
                weight.normal_(1, 0.1)
            elif leaf == 'weight' and weight.ndim > 1:
                weight.normal_(0, matrices * weight[0].numel()**-0.5)
            else:
                weight.normal_(0, vectors)
    return module
