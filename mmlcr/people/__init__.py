# Copyright (c) The mmlcr authors. All rights reserved.
"""Rendered people: articulated bodies that move by random programs."""
from .body import Pose, Shape, pose_body
from .look import Look, sample_look
from .programs import (
    Actor,
    MotionProgram,
    Oscillation,
    Prop,
    Scene,
    sample_motion,
    sample_scene,
)
from .render import FPS, render_clip

__all__ = [
    'FPS', 'Actor', 'Look', 'MotionProgram', 'Oscillation', 'Pose', 'Prop',
    'Scene', 'Shape', 'pose_body', 'render_clip', 'sample_look',
    'sample_motion', 'sample_scene'
]
