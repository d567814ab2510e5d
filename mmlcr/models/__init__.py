# Copyright (c) The mmlcr authors. All rights reserved.
"""The registered models."""
from .c3d_small import C3DSmall
from .lcr import LCR, LCRState
from .lcr_data_preprocessor import LCRDataPreprocessor
from .lcr_head import LCRHead
from .lcr_recognizer import LCRRecognizer

__all__ = [
    'C3DSmall', 'LCR', 'LCRDataPreprocessor', 'LCRHead', 'LCRRecognizer',
    'LCRState'
]
