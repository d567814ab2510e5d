# Copyright (c) The mmlcr authors. All rights reserved.
"""Checks of the installed MMEngine, MMCV, MMAction2 and OpenCV.

Their own errors, for a package that is missing or has the wrong version, do
not say what to do. The errors here name the command that helps.
"""
import contextlib
import importlib
import importlib.util
import re
import warnings
from importlib import metadata
from typing import NamedTuple, Tuple

OPENCV = ('opencv-python', 'opencv-contrib-python', 'opencv-python-headless',
          'opencv-contrib-python-headless')


class Needed(NamedTuple):
    """A module with its supported versions, and the package to install."""
    module: str
    oldest: str
    below: str
    package: str
    hint: str = ''


# in the order in which they import each other; setup.cfg has the same bounds,
# but for mmcv-lite from 2.0.1 on: a full mmcv may be older
NEEDED = (
    Needed('mmengine', '0.8.0', '1', 'mmengine'),
    Needed(
        'mmcv', '2.0', '2.2', 'mmcv-lite',
        ', or the same with mmcv where you have, or want to compile, the '
        'full one; never install both'),
    Needed('mmaction', '1.2.0', '2', 'mmaction2'),
)


def require_stack() -> None:
    """Check that the packages are installed in a supported version.

    Raises:
        ImportError: If one is not; names the command that installs it.
    """
    check_opencv()
    for needed in NEEDED:
        found = _version(needed.module)
        versions = f'>={needed.oldest},<{needed.below}'
        if not found or not (_numbers(needed.oldest) <= _numbers(found) <
                             _numbers(needed.below)):
            raise ImportError(
                f'mmlcr needs {needed.module} {versions}, and found '
                f'{found or "none"}: run "pip install '
                f'\'{needed.package}{versions}\'"{needed.hint}')


def check_opencv() -> None:
    """Warn of packages of OpenCV that overwrite each other.

    MMEngine requires one and MMAction2 another. Both unpack into the folder
    ``cv2``, and pip may choose different versions of them.
    """
    versions = {}
    for package in OPENCV:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    if len({*versions.values()}) > 1:
        newest = max(versions.values(), key=_numbers)
        packages = ', '.join(f'{name} {version}'
                             for name, version in versions.items())
        command = ' '.join(f'{name}=={newest}' for name in versions)
        warnings.warn(
            f'{packages} are installed side by side and unpack into one '
            'folder, which has some files of one and some of the other: run '
            f'"pip install --force-reinstall --no-deps {command}"',
            stacklevel=4)


def _version(module: str) -> str:
    """The installed version; empty for a missing module or a bare folder."""
    if importlib.util.find_spec(module) is None:
        return ''
    return getattr(importlib.import_module(module), '__version__', '')


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(map(int, re.findall(r'\d+', version)))
