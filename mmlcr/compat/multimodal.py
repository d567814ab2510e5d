# Copyright (c) The mmlcr authors. All rights reserved.
"""MMAction2's models of text and video, if they cannot be imported.

``mmaction.models`` imports them if transformers is installed, and fails as a
whole without timm, or with a version of transformers that lacks functions they
import. An environment that has transformers for something else, such as peft,
could then use no model at all.
"""
import importlib.util
import os.path as osp
import sys

# imported from transformers.modeling_utils, where version 5 lacks it
NEEDED = b'apply_chunking_to_forward'


def repair_multimodal() -> bool:
    """Make MMAction2 register its placeholders if the imports would fail.

    Building a placeholder raises an error that says what to install.

    Returns:
        bool: Whether the imports would fail.
    """
    if 'mmaction.models' in sys.modules or _can_be_imported():
        return False
    from mmaction.utils import dependency
    dependency.WITH_MULTIMODAL = False
    return True


def _can_be_imported() -> bool:
    """Look at the files, as importing transformers takes seconds."""
    spec = importlib.util.find_spec('transformers')
    if spec is None or not spec.submodule_search_locations:
        return True  # MMAction2 registers its placeholders itself
    if importlib.util.find_spec('timm') is None:
        return False
    path = osp.join(spec.submodule_search_locations[0], 'modeling_utils.py')
    try:
        with open(path, 'rb') as file:
            return NEEDED in file.read()
    except OSError:
        return False
