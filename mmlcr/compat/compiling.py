# Copyright (c) The mmlcr authors. All rights reserved.
"""Exclude methods from ``torch.compile``."""
import torch

_EXCLUDED = '_mmlcr_excluded_from_compile'


def exclude_from_compile(owner: type,
                         name: str,
                         *,
                         recursive: bool = True) -> None:
    """Exclude a method from compilation of the functions that call it.

    A second call for the same method has no effect.

    Args:
        owner (type): The class whose method is replaced.
        name (str): Name of the method.
        recursive (bool): Whether the functions that it calls are excluded,
            too. Defaults to True.
    """
    method = getattr(owner, name)
    if getattr(method, _EXCLUDED, False):
        return
    excluded = torch.compiler.disable(method, recursive=recursive)
    setattr(excluded, _EXCLUDED, True)
    setattr(owner, name, excluded)
