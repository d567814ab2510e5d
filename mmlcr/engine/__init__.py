# Copyright (c) The mmlcr authors. All rights reserved.
"""What the runner needs besides MMEngine's own."""
from .cpu_amp import CPUAmpOptimWrapper

__all__ = ['CPUAmpOptimWrapper']
