# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered data sets, and functions to make lists for them."""
from .annotations import read_lines
from .clip_datasets import ValidatedRawframeDataset, ValidatedVideoDataset
from .clip_files import check_file
from .errors import ClipError, WorkerTracker, report_failed_clips
from .flip_labels import mirrored_labels, without_mirrored
from .pipelines import frames_needed
from .process_pool import TaskResult, map_isolated
from .rendered_people import RenderedPeopleDataset
from .splits import (
    Clip,
    Parts,
    absent_classes,
    assert_disjoint,
    class_names_of,
    clips_of,
    make_folds,
    stratified_group_split,
)

__all__ = [
    'Clip', 'ClipError', 'Parts', 'RenderedPeopleDataset', 'TaskResult',
    'ValidatedRawframeDataset', 'ValidatedVideoDataset', 'WorkerTracker',
    'absent_classes', 'assert_disjoint', 'check_file', 'class_names_of',
    'clips_of', 'frames_needed', 'make_folds', 'map_isolated',
    'mirrored_labels', 'read_lines', 'report_failed_clips',
    'stratified_group_split', 'without_mirrored'
]
