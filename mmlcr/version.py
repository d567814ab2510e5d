# Copyright (c) The mmlcr authors. All rights reserved.
"""The version of mmlcr, read by setup.cfg too."""
__version__ = '0.1.0'
