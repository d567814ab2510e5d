# Copyright (c) The mmlcr authors. All rights reserved.
"""The parts of a Cross RWKV layer."""
from .cell import FINITE_BOUND, CoupledCell, PaperCell, build_cell
from .cross_rwkv import ChannelMix, CrossRWKVLayer, LayerState, SpatialMix
from .layout import TokenLayout, TokenShift, layout_from_mask
from .readout import (
    AttentionReadout,
    CLSReadout,
    MeanReadout,
    build_readout,
)
from .rotary import Rotation, rotary_tables, rotate
from .stem import ConvStem, PatchStem, build_stem

__all__ = [
    'FINITE_BOUND', 'AttentionReadout', 'CLSReadout', 'ChannelMix', 'ConvStem',
    'CoupledCell', 'CrossRWKVLayer', 'LayerState', 'MeanReadout', 'PaperCell',
    'PatchStem', 'Rotation', 'SpatialMix', 'TokenLayout', 'TokenShift',
    'build_cell', 'build_readout', 'build_stem', 'layout_from_mask',
    'rotary_tables', 'rotate'
]
