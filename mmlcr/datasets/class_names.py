# Copyright (c) The mmlcr authors. All rights reserved.
"""Class names of a model."""
import os.path as osp
from typing import Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from mmlcr.datasets.annotations import read_lines
from mmlcr.datasets.errors import ClipError
from mmlcr.engine import names_in


def class_names(config: Config,
                checkpoint: Optional[str] = None) -> Tuple[str, ...]:
    """Return the class names in the order of the scores.

    They are those in the checkpoint's metadata, else those of the config's
    test set, else numbers.

    Args:
        config (Config): Config of the model; ``model.cfg`` of MMAction2's
            API.
        checkpoint (str, optional): File or address. Defaults to None.

    Raises:
        ValueError: If the number of names is not that of the head's classes,
            or the config's file of names can't be read.
        UnreadableFileError: If the checkpoint is refused or broken.
    """
    number = config.model.cls_head.num_classes
    if checkpoint is not None:
        names = names_in(
            CheckpointLoader.load_checkpoint(checkpoint, 'cpu', 'silent'),
            checkpoint)
        if names:
            return check_number_of_names(names, number, checkpoint)
    dataset = config.get('test_dataloader', {}).get('dataset', {})
    classes = dataset.get('classes') or ()
    where = 'the config'
    if isinstance(classes, str):
        where, classes = classes, ()
        if osp.exists(where):
            try:
                classes = read_lines(where)
            except ClipError as error:
                raise ValueError(str(error)) from error
    if classes:
        return check_number_of_names(classes, number, where)
    return tuple(f'class {i}' for i in range(number))


def check_number_of_names(names: Sequence[str], number: int,
                          where: str) -> Tuple[str, ...]:
    """Return the names as a tuple if there are ``number`` of them.

    Raises:
        ValueError: If there are more or fewer.
    """
    if len(names) != number:
        raise ValueError(f'{where}: {len(names)} class names, and the head '
                         f'of the config has {number} classes')
    return tuple(names)
