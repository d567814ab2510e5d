# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered data sets."""
from .checked import CheckedRawframeDataset, CheckedVideoDataset

__all__ = ['CheckedRawframeDataset', 'CheckedVideoDataset']
