# Copyright (c) The mmlcr authors. All rights reserved.
"""Rendered people: articulated bodies that move by random programs."""
from .body import Pose, pose_body
from .programs import MotionProgram, Oscillation, draw_program
from .render import FPS, Look, draw_look, render_clip

__all__ = [
    'FPS', 'Look', 'MotionProgram', 'Oscillation', 'Pose', 'draw_look',
    'draw_program', 'pose_body', 'render_clip'
]
