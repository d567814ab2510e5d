# Copyright (c) The mmlcr authors. All rights reserved.
"""The parts of a Cross RWKV layer."""
from .cell import FINITE_BOUND, CoupledCell, PaperCell, build_cell
from .cross_rwkv import (
    CrossRWKVLayer,
    FramePrompt,
    Frames,
    Geometry,
    LayerState,
    LayerWeights,
    Surroundings,
)
from .functions import (
    Functions,
    Fused,
    compiled_functions,
    find_compiler,
    find_fused,
    is_traced,
)
from .layout import TokenLayout, layout_from_mask
from .readout import (
    AttentionReadout,
    CLSReadout,
    MeanReadout,
    build_readout,
)
from .rotary import rotary_table, rotate
from .stem import (
    ConvStem,
    Normalize,
    PatchStem,
    build_stem,
    resize_position,
)
from .token_shift import TokenShift
from .vrwkv6 import VRWKV6Layer, VRWKV6Weights
from .wavefront import Wavefront

__all__ = [
    'FINITE_BOUND', 'AttentionReadout', 'CLSReadout', 'ConvStem',
    'CoupledCell', 'CrossRWKVLayer', 'FramePrompt', 'Frames', 'Functions',
    'Fused', 'Geometry', 'LayerState', 'LayerWeights', 'MeanReadout',
    'Normalize', 'PaperCell', 'PatchStem', 'Surroundings', 'TokenLayout',
    'TokenShift', 'VRWKV6Layer', 'VRWKV6Weights', 'Wavefront', 'build_cell',
    'build_readout', 'build_stem', 'compiled_functions', 'find_compiler',
    'find_fused', 'is_traced', 'layout_from_mask', 'resize_position',
    'rotary_table', 'rotate'
]
