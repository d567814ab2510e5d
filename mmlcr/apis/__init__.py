# Copyright (c) The mmlcr authors. All rights reserved.
"""What the command-line tools call, and code of one's own may."""
from .cam import grad_cam
from .complexity import (
    add_model_arguments,
    build_model_and_clip,
    count_multiply_adds,
    multiply_adds,
    num_parameters,
)
from .launch import (
    add_common_arguments,
    add_config_arguments,
    build_runner,
    ending_with_errors,
    find_config,
    load_config,
    lost_promises,
    positive,
    set_work_dir,
)
from .maps import KeptRange, Maps, draw_heat, draw_kept, draw_maps
from .measure import (
    Case,
    can_measure_memory,
    markdown,
    measure,
    peak_memory,
    plot_growth,
)
from .names import class_names
from .onnx_step import OnnxStep, export_step
from .outputs import (
    AnnotatedVideo,
    JSONLines,
    ScorePlot,
    StateFile,
    Window,
    WindowClosed,
    annotate,
    closing_all,
    plot_scores,
)
from .segment_files import SegmentFiles
from .segments import (
    Segment,
    Segmenter,
    Settings,
    add_segment_arguments,
    match,
    segments_of,
    settings_given,
    settings_of,
)
from .sources import (
    Camera,
    Frame,
    FrameRateFilter,
    ImageFolder,
    LiveStream,
    SourceError,
    Video,
    middle_frame,
    open_source,
    read_image,
)
from .stream import (
    StreamRecognizer,
    StreamResult,
    add_stream_arguments,
    recognizer_of,
)
from .subprocess_video import SubprocessVideo
from .timeline import plot_timeline

__all__ = [
    'AnnotatedVideo', 'Camera', 'Case', 'Frame', 'FrameRateFilter',
    'ImageFolder', 'JSONLines', 'KeptRange', 'LiveStream', 'Maps', 'OnnxStep',
    'ScorePlot', 'Segment', 'SegmentFiles', 'Segmenter', 'Settings',
    'SourceError', 'StateFile', 'StreamRecognizer', 'StreamResult',
    'SubprocessVideo', 'Video', 'Window', 'WindowClosed',
    'add_common_arguments', 'add_config_arguments', 'add_model_arguments',
    'add_segment_arguments', 'add_stream_arguments', 'annotate',
    'build_model_and_clip', 'build_runner', 'can_measure_memory',
    'class_names', 'closing_all', 'count_multiply_adds', 'draw_heat',
    'draw_kept', 'draw_maps', 'ending_with_errors', 'export_step',
    'find_config', 'grad_cam', 'load_config', 'lost_promises', 'markdown',
    'match', 'measure', 'middle_frame', 'multiply_adds', 'num_parameters',
    'open_source', 'peak_memory', 'plot_growth', 'plot_scores',
    'plot_timeline', 'positive', 'read_image', 'recognizer_of', 'segments_of',
    'set_work_dir', 'settings_given', 'settings_of'
]
