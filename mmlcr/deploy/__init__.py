# Copyright (c) The mmlcr authors. All rights reserved.
"""Export of a step to ONNX, and measurements of time, memory and work."""
from .complexity import (
    count_multiply_adds,
    multiply_adds,
    num_parameters,
    recognizer_scores,
)
from .measure import (
    Case,
    can_measure_memory,
    markdown,
    measure,
    peak_memory,
    plot_growth,
)
from .onnx_step import OnnxStep, export_step

__all__ = [
    'Case', 'OnnxStep', 'can_measure_memory', 'count_multiply_adds',
    'export_step', 'markdown', 'measure', 'multiply_adds', 'num_parameters',
    'peak_memory', 'plot_growth', 'recognizer_scores'
]
