# Copyright (c) The mmlcr authors. All rights reserved.
"""One build step that setup.cfg cannot say; all metadata are there.

As in MMAction2, a wheel carries the configs and tools in ``mmlcr/.mim``, so
that an installed copy trains without a clone. They are copied at build time:
an editable installation has them in the clone.
"""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ('configs', 'tools')


class BuildWithConfigs(build_py):
    """``build_py``, and the configs and tools beside the modules."""

    def run(self) -> None:
        """Build, and replace what an earlier build may have left."""
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib, 'mmlcr', '.mim')
        for folder in CARRIED:
            target = mim / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(
                folder,
                target,
                ignore=shutil.ignore_patterns('__pycache__', '*.py[co]'))
        shutil.copy('model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithConfigs))
