# Copyright (c) The mmlcr authors. All rights reserved.
"""Where the files of :mod:`mmlcr` are, without importing it."""
import importlib.util
import os.path as osp
import runpy


def package_folder() -> str:
    """The folder of the package.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    spec = importlib.util.find_spec('mmlcr')
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError('mmlcr is not installed')
    return osp.dirname(spec.origin)


def package_version() -> str:
    """Its version."""
    return runpy.run_path(
        osp.join(package_folder(), 'version.py'))['__version__']


def config_folder() -> str:
    """The folder of the configs: of the clone, or of the wheel."""
    package = package_folder()
    clone = osp.join(osp.dirname(package), 'configs')
    return clone if osp.isdir(clone) else osp.join(package, '.mim', 'configs')
