# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered pipeline transforms."""
from .edge_map import EdgeMap
from .raw_frames import RawFrameInit
from .sample_frames_by_time import SampleFramesByTime
from .tube_mask import TubeMask
from .video import VideoDecode, VideoInit

__all__ = [
    'EdgeMap', 'RawFrameInit', 'SampleFramesByTime', 'TubeMask',
    'VideoDecode', 'VideoInit'
]
