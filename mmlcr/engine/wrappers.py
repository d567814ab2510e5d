# Copyright (c) The mmlcr authors. All rights reserved.
"""The data sets inside of MMEngine's ``ConcatDataset`` and ``RepeatDataset``.

Both may be nested. Other wrappers, such as ``ClassBalancedDataset``, look an
index up in a table: for these functions, they are data sets themselves.
"""
from typing import Any, List

import numpy as np
from mmengine.dataset import ConcatDataset, RepeatDataset

from .progress import clip_ids


def leaf_datasets(dataset: Any) -> List[Any]:
    """Return the data sets inside of a wrapper, or the data set itself."""
    if isinstance(dataset, ConcatDataset):
        return [
            leaf for inner in dataset.datasets
            for leaf in leaf_datasets(inner)
        ]
    if isinstance(dataset, RepeatDataset):
        return leaf_datasets(dataset.dataset)
    return [dataset]


def clip_ids_of(dataset: Any) -> np.ndarray:
    """Return the identifiers of all samples of a data set or wrapper.

    Two data sets may have different clips at the same relative path: from the
    second one on, the identifiers also depend on the number of the data set.

    Args:
        dataset (Any): A data set with ``clip_ids``, or a wrapper of some.

    Returns:
        np.ndarray: int64, ``(samples, )``, in the order of the samples.
    """
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([
            clip_ids_of(inner) ^ (clip_ids([f'dataset {number}'])
                                  if number else 0)
            for number, inner in enumerate(dataset.datasets)
        ])
    if isinstance(dataset, RepeatDataset):
        return np.tile(clip_ids_of(dataset.dataset), dataset.times)
    return dataset.clip_ids
