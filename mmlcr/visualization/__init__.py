# Copyright (c) The mmlcr authors. All rights reserved.
"""Pictures of a model's inputs, its forget gate, its scores and errors."""
from .cam import grad_cam
from .maps import Maps, RetentionRange, draw_heat, draw_maps, draw_retention
from .retention import retention
from .scores import plot_scores
from .split import split_at_layer

__all__ = [
    'Maps', 'RetentionRange', 'draw_heat', 'draw_maps', 'draw_retention',
    'grad_cam', 'plot_scores', 'retention', 'split_at_layer'
]
