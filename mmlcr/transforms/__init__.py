# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered pipeline transforms."""
from .edge_map import EdgeMap
from .tube_mask import TubeMask
from .video import VideoDecode, VideoInit

__all__ = ['EdgeMap', 'TubeMask', 'VideoDecode', 'VideoInit']
