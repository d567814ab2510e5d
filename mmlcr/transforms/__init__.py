# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered pipeline transforms."""
from .edge_map import EdgeMap
from .tube_mask import TubeMask

__all__ = ['EdgeMap', 'TubeMask']
