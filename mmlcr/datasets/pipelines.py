# Copyright (c) The mmlcr authors. All rights reserved.
"""Inspect a pipeline's steps and frame sampling without running it."""
from typing import Any, Iterator, Optional


def frames_needed(clip_len: int, frame_interval: Optional[float]) -> int:
    """Return the fewest frames of a clip that a sampler does not repeat.

    Args:
        clip_len (int): Number of sampled frames.
        frame_interval (float, optional): Their distance in frames; None for
            uniform sampling.
    """
    interval = 1 if frame_interval is None else frame_interval
    return round((clip_len - 1) * interval) + 1


def repeated_frames(clip: dict) -> str:
    """Explain why a sampler had to repeat frames of a clip.

    Args:
        clip (dict): The result of a pipeline's step. It is checked after
            frames are sampled and before they are decoded.

    Returns:
        str: The reason; empty if no frame is repeated, or nothing was sampled
        yet.
    """
    if 'frame_inds' not in clip or 'imgs' in clip:
        return ''
    length, interval = clip['clip_len'], clip['frame_interval']
    if 'num_due' in clip:
        found = clip['num_due']
        return '' if found >= length else (
            f'has {found} of the {length} frames sampled by time')
    found, needed = clip['total_frames'], frames_needed(length, interval)
    return '' if found >= needed else (
        f'has {found} frames, and {length} frames with an interval of '
        f'{1 if interval is None else interval} need {needed}')


def find_transforms(pipeline: Any, attribute: str) -> Iterator[Any]:
    """Find all transforms with an attribute, also inside ``RandomChoice``.

    Args:
        pipeline (Any): A ``Compose``, or a transform that holds others.
        attribute (str): Name of the attribute.
    """
    for transform in getattr(pipeline, 'transforms', ()):
        if hasattr(transform, attribute):
            yield transform
        yield from find_transforms(transform, attribute)


def find_steps(config: Any) -> Iterator[dict]:
    """Find all steps of a pipeline's config, also nested ones."""
    if isinstance(config, dict):
        yield config
        config = [*config.values()]
    if isinstance(config, (list, tuple)):
        for inner in config:
            yield from find_steps(inner)
