# Copyright (c) The mmlcr authors. All rights reserved.
"""The commands."""
