# Copyright (c) The mmlcr authors. All rights reserved.
"""Configuration of Sphinx, for "make docs"."""
import sys
from pathlib import Path
from typing import Any, List

from mmcv.transforms.utils import cache_randomness

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmlcr.version import __version__  # noqa: E402

project = 'mmlcr'
author = copyright = 'The mmlcr authors'
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
]
myst_heading_anchors = 3
autodoc_default_options = {'members': True}
autodoc_typehints = 'none'  # docstrings have the types
autodoc_member_order = 'bysource'
autosummary_generate = True
exclude_patterns = ['_build']

html_theme = 'sphinx_rtd_theme'
html_show_copyright = False
html_static_path: List[str] = []

# mmcv's decorator cannot be read from a class, as Sphinx does
_bind = cache_randomness.__get__


def _get(self: Any, instance: Any, owner: Any) -> Any:
    return self.func if instance is None else _bind(self, instance, owner)


cache_randomness.__get__ = _get
