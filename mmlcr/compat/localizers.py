# Copyright (c) The mmlcr authors. All rights reserved.
"""A stand-in for the module that the wheel of MMAction2 1.2.0 lacks.

``mmaction.models`` imports ``localizers.drn``, which is not in the wheel
(open-mmlab/mmaction2 issue 2714).
"""
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any

_DRN = 'mmaction.models.localizers.drn'


def repair_localizers() -> bool:
    """Register a stand-in for ``localizers.drn`` if the wheel lacks it.

    Returns:
        bool: Whether the module was missing.
    """
    if 'mmaction.models' in sys.modules or _has_drn():
        return False
    package, module = types.ModuleType(_DRN), types.ModuleType(f'{_DRN}.drn')
    package.__path__ = []
    for stand_in in (package, module):
        stand_in.__spec__ = importlib.machinery.ModuleSpec(
            stand_in.__name__, None)
        sys.modules[stand_in.__name__] = stand_in

    class DRN:
        """Raises the error of the missing localizer when it is built."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                'the published mmaction2 wheel lacks the DRN localizer; '
                'install mmaction2 from its repository to use it')

    module.DRN = DRN  # type: ignore[attr-defined]
    return True


def _has_drn() -> bool:
    """Look for the file without importing ``mmaction.models``."""
    spec = importlib.util.find_spec('mmaction')
    if spec is None or not spec.submodule_search_locations:
        return True  # MMAction2 itself is missing: its import will fail
    locations = [f'{path}/models/localizers'
                 for path in spec.submodule_search_locations]
    return importlib.machinery.PathFinder.find_spec(
        'drn', locations) is not None
