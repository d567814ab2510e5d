# Copyright (c) The mmlcr authors. All rights reserved.
"""Configs that come with the package."""
import os.path as osp


def find_config(path: str) -> str:
    """The path itself, or that of the config that came with the package.

    Returns:
        str: Absolute, so that it may be a ``_base_`` in any folder.

    Raises:
        FileNotFoundError: If there is neither.
    """
    package = osp.dirname(osp.dirname(osp.abspath(__file__)))
    name = osp.normpath(path)
    for root in ('', osp.dirname(package), osp.join(package, '.mim')):
        candidate = osp.join(root, name)
        if osp.isfile(candidate):
            return osp.abspath(candidate)
    raise FileNotFoundError(f'there is no config {path}')
