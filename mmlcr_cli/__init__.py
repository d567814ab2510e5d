# Copyright (c) The mmlcr authors. All rights reserved.
"""The command line: names of the commands, their arguments and help.

This package is apart from :mod:`mmlcr`, whose import registers everything with
MMAction2 and therefore loads PyTorch: ``mmlcr --help``, a mistyped option and
``mmlcr configs`` are answered without. What a command does is in the module of
the same name in :mod:`mmlcr.cli`, which is imported when its arguments are
known to be good.
"""
from .commands import COMMANDS
from .main import main, parse, run

__all__ = ['COMMANDS', 'main', 'parse', 'run']
