# Copyright (c) The mmlcr authors. All rights reserved.
"""What the classes of a model are called."""
import os.path as osp
from typing import Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from mmlcr.datasets.annotations import read_lines
from mmlcr.datasets.errors import ClipError
from mmlcr.engine import names_in


def class_names(config: Config,
                checkpoint: Optional[str] = None) -> Tuple[str, ...]:
    """Names of the classes, in the order of the scores.

    Those that the checkpoint took along from its training; else those of the
    config's test set, if they are there; else numbers.

    Args:
        config (Config): Of the model; ``model.cfg`` of MMAction2's API.
        checkpoint (str, optional): File or address. Defaults to None.

    Raises:
        ValueError: If there are more or fewer names than the head has classes,
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
    """Names, if they are so many.

    Raises:
        ValueError: If not.
    """
    if len(names) != number:
        raise ValueError(f'{where}: {len(names)} class names, and the head '
                         f'of the config has {number} classes')
    return tuple(names)
