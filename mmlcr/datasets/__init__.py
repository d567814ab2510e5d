# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered data sets."""
from .checked import CheckedRawframeDataset, CheckedVideoDataset, check_file
from .children import Outcome, try_each
from .clips import AtWork, ClipError, naming_clips

__all__ = [
    'AtWork', 'CheckedRawframeDataset', 'CheckedVideoDataset', 'ClipError',
    'Outcome', 'check_file', 'naming_clips', 'try_each'
]
