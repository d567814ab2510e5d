# Copyright (c) The mmlcr authors. All rights reserved.
"""Recognition on streams: sources of frames, the recognizer, outputs."""
from .features import clip_features, frame_features
from .frames import Frame, FrameRateFilter
from .live import Camera, LatestFrameReader, LiveSource, LiveStream
from .opening import middle_frame, open_source
from .outputs import (
    AnnotatedVideo,
    JSONLines,
    ScorePlot,
    StateFile,
    Window,
    WindowClosed,
    annotate,
    closing_all,
)
from .pipeline import CROPS, split_pipeline
from .recognizer import StreamRecognizer
from .result import StreamResult
from .segment_files import SegmentFiles
from .segments import Segment, Segmenter, Settings, match, segments_of
from .sources import ArraySource, ImageFolder, Source, Video, read_image
from .step import TorchStep
from .subprocess_video import SubprocessVideo
from .timeline import plot_timeline
from .windows import CONTEXTS

__all__ = [
    'CONTEXTS', 'CROPS', 'AnnotatedVideo', 'ArraySource', 'Camera', 'Frame',
    'FrameRateFilter', 'ImageFolder', 'JSONLines', 'LatestFrameReader',
    'LiveSource', 'LiveStream', 'ScorePlot', 'Segment', 'SegmentFiles',
    'Segmenter', 'Settings', 'Source', 'StateFile', 'StreamRecognizer',
    'StreamResult', 'SubprocessVideo', 'TorchStep', 'Video', 'Window',
    'WindowClosed', 'annotate', 'clip_features', 'closing_all',
    'frame_features', 'match', 'middle_frame', 'open_source', 'plot_timeline',
    'read_image', 'segments_of', 'split_pipeline'
]
