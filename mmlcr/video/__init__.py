# Copyright (c) The mmlcr authors. All rights reserved.
"""Reading and writing of video files, with the times of their frames."""
from .errors import SourceError, TruncatedVideoError
from .frame_cache import CachedVideo, FrameCache
from .frame_clock import FrameClock
from .reader import TimedImage, VideoReader
from .writer import VideoWriter

__all__ = [
    'CachedVideo', 'FrameCache', 'FrameClock', 'SourceError', 'TimedImage',
    'TruncatedVideoError', 'VideoReader', 'VideoWriter'
]
