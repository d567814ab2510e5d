# Copyright (c) The mmlcr authors. All rights reserved.
"""What the commands do: a module each, whose ``main`` takes the arguments.

Names, arguments and help are in :mod:`mmlcr_cli`.
"""
