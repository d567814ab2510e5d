# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered data sets, and what makes lists for them."""
from .checked import CheckedRawframeDataset, CheckedVideoDataset
from .mirrored import mirrored_labels, without_mirrored
from .splits import (
    Clip,
    Parts,
    absent_classes,
    check_apart,
    clips_of,
    deal,
    share_out,
)

__all__ = [
    'CheckedRawframeDataset', 'CheckedVideoDataset', 'Clip', 'Parts',
    'absent_classes', 'check_apart', 'clips_of', 'deal', 'mirrored_labels',
    'share_out', 'without_mirrored'
]
