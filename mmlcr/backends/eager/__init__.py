# Copyright (c) The mmlcr authors. All rights reserved.
"""Packed weights and PyTorch operations, on diagonals of layers and frames."""
from .backend import EagerBackend, EagerExecutor
from .cross_rwkv import CrossRWKVWeights
from .spec import StackSpec
from .vrwkv6 import VRWKV6Weights
from .wavefront import Wavefront

__all__ = [
    'CrossRWKVWeights', 'EagerBackend', 'EagerExecutor', 'StackSpec',
    'VRWKV6Weights', 'Wavefront'
]
