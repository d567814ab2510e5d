# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered data sets, and what makes lists for them."""
from .checked import (
    CheckedRawframeDataset,
    CheckedVideoDataset,
    check_file,
    read_lines,
)
from .children import Outcome, try_each
from .faults import AtWork, ClipError, naming_clips
from .mirrored import mirrored_labels, without_mirrored
from .splits import (
    Clip,
    Parts,
    absent_classes,
    check_apart,
    class_names_of,
    clips_of,
    deal,
    share_out,
)

__all__ = [
    'AtWork', 'CheckedRawframeDataset', 'CheckedVideoDataset', 'Clip',
    'ClipError', 'Outcome', 'Parts', 'absent_classes', 'check_apart',
    'check_file', 'class_names_of', 'clips_of', 'deal', 'mirrored_labels',
    'naming_clips', 'read_lines', 'share_out', 'try_each', 'without_mirrored'
]
