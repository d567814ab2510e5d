# Copyright (c) The mmlcr authors. All rights reserved.
"""The packages that this one plugs into, before anything of them is used.

An import of theirs that fails names a module which nobody knows how to
install, or a version of another package. Here it names a command.
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
    """A module, the versions of it that do, and the package that has it."""
    module: str
    oldest: str
    below: str
    package: str
    hint: str = ''


# in the order in which they import each other; setup.cfg says the same of
# mmcv-lite from 2.0.1 on, and a full mmcv may be older
NEEDED = (
    Needed('mmengine', '0.8.0', '1', 'mmengine'),
    Needed(
        'mmcv', '2.0', '2.2', 'mmcv-lite',
        ', or the same with mmcv where you have, or want to compile, the '
        'full one; never install both'),
    Needed('mmaction', '1.2.0', '2', 'mmaction2'),
)


def require_stack() -> None:
    """Say what to install where it is missing, or of another version.

    Raises:
        ImportError: With the command that helps.
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

    MMEngine asks for one and MMAction2 for another, both unpack into the
    folder ``cv2``, and pip may take different versions of them.
    """
    found = {}
    for package in OPENCV:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    if len({*found.values()}) > 1:
        newest = max(found.values(), key=_numbers)
        told = ', '.join(f'{name} {version}'
                         for name, version in found.items())
        command = ' '.join(f'{name}=={newest}' for name in found)
        warnings.warn(
            f'{told} are installed side by side and unpack into one folder, '
            'of which some files are of one and some of the other: run "pip '
            f'install --force-reinstall --no-deps {command}"',
            stacklevel=4)


def _version(module: str) -> str:
    """Of what is installed; empty where it is not, or a bare folder is."""
    if importlib.util.find_spec(module) is None:
        return ''
    return getattr(importlib.import_module(module), '__version__', '')


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(map(int, re.findall(r'\d+', version)))
