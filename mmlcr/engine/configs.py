# Copyright (c) The mmlcr authors. All rights reserved.
"""Configs of the package."""
import os.path as osp


def find_config(path: str) -> str:
    """Find a config file, or one that comes with the package.

    Args:
        path (str): A path, or for those of the package the name with or
            without its folder and ending: ``configs/lcr_motion.py``,
            ``lcr_motion``.

    Returns:
        str: An absolute path, which may be a ``_base_`` in any folder.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    package = osp.dirname(osp.dirname(osp.abspath(__file__)))
    name = osp.normpath(path)
    roots = osp.dirname(package), osp.join(package, '.mim')
    candidates = [name, *(osp.join(root, name) for root in roots)]
    if osp.basename(name) == name:
        file = name if name.endswith('.py') else f'{name}.py'
        candidates += [
            osp.join(root, folder, file) for root in roots
            for folder in ('configs', 'configs/recognition/lcr')
        ]
    for candidate in candidates:
        if osp.isfile(candidate):
            return osp.abspath(candidate)
    raise FileNotFoundError(
        f'there is no config {path}; "mmlcr configs" lists those of mmlcr')
