# Copyright (c) The mmlcr authors. All rights reserved.
"""The modules of LCR: stems, layers, cells and readouts."""
from .cell import FINITE_BOUND, Cell, CoupledCell, PaperCell, build_cell
from .common import Geometry, LayerState, Prompt
from .cross_rwkv import CrossRWKVLayer
from .readout import (
    AttentionReadout,
    CLSReadout,
    MeanReadout,
    build_readout,
)
from .stem import (
    ConvStem,
    Normalize,
    PatchProjection,
    PatchStem,
    build_stem,
    num_stem_inputs,
    resize_position,
    stem_inputs,
)
from .vrwkv6 import VRWKV6Layer

__all__ = [
    'FINITE_BOUND', 'AttentionReadout', 'CLSReadout', 'Cell', 'ConvStem',
    'CoupledCell', 'CrossRWKVLayer', 'Geometry', 'LayerState', 'MeanReadout',
    'Normalize', 'PaperCell', 'PatchProjection', 'PatchStem', 'Prompt',
    'VRWKV6Layer', 'build_cell', 'build_readout', 'build_stem',
    'num_stem_inputs', 'resize_position', 'stem_inputs'
]
