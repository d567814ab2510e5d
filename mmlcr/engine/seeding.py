# Copyright (c) The mmlcr authors. All rights reserved.
"""Randomness that depends only on seed, epoch and sample.

A resumed run is therefore bit-identical to one that was never interrupted, and
a clip is augmented alike by whichever process or worker loads it.
"""
import random
from collections import Counter
from functools import cached_property
from typing import Any, Iterator, List, Optional

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner

from .wrappers import clip_ids_of, leaf_datasets

# first number of a seed: samples and iterations have different seeds
SAMPLE, ITERATION = range(2)


class SampleSeed(int):
    """The index of a sample together with its seed.

    A data set of this package calls :meth:`apply` before it loads the sample.
    The wrappers ``ConcatDataset`` and ``RepeatDataset`` translate an index by
    subtraction and remainder; the seed stays that of the outer index.

    Args:
        index (int): Index of the sample in the data set that receives it.
        epoch (int): Number of the epoch, from zero.
        seed (int): Seed of the sampler.
        sample (int, optional): Index of the sample in the data set of the
            sampler, which seeds it. Defaults to ``index``.
    """
    epoch: int
    seed: int
    sample: int

    def __new__(cls,
                index: int,
                epoch: int,
                seed: int,
                sample: Optional[int] = None) -> 'SampleSeed':
        """Create an integer with the attributes of its seed."""
        self = super().__new__(cls, index)
        self.epoch, self.seed = epoch, seed
        self.sample = int(index) if sample is None else sample
        return self

    def __reduce__(self) -> tuple:
        numbers = int(self), self.epoch, self.seed, self.sample
        return SampleSeed, numbers

    def __repr__(self) -> str:
        return (f'{type(self).__name__}({int(self)}, epoch={self.epoch}, '
                f'seed={self.seed}, sample={self.sample})')

    def __sub__(self, offset: int) -> 'SampleSeed':
        return self._with_index(int(self) - offset)

    def __mod__(self, length: int) -> 'SampleSeed':
        return self._with_index(int(self) % length)

    def apply(self) -> None:
        """Seed Python's, NumPy's and torch's generators for the sample."""
        seed_generators(SAMPLE, self.sample, self.epoch, self.seed)

    def replaced_by(self, index: int) -> 'SampleSeed':
        """Return another sample of the data set, with that sample's seed."""
        sample = self.sample + index - int(self)
        return SampleSeed(index, self.epoch, self.seed, sample)

    def _with_index(self, index: int) -> 'SampleSeed':
        return SampleSeed(index, self.epoch, self.seed, self.sample)


def seed_generators(*numbers: int) -> None:
    """Seed Python's, NumPy's and torch's global generators.

    Args:
        *numbers (int): Non-negative. Equal numbers give equal states.
    """
    states = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(states[0]))
    np.random.seed(states[1])
    torch.manual_seed(int(states[2]))


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """:class:`mmengine.dataset.DefaultSampler` that seeds every sample.

    It yields a :class:`SampleSeed` for each sample, which
    :class:`mmlcr.datasets.ValidatedVideoDataset` and
    :class:`mmlcr.datasets.ValidatedRawframeDataset` apply before their
    pipeline runs. These data sets may be inside of MMEngine's
    ``ConcatDataset`` and ``RepeatDataset``; every repetition of a clip is
    augmented differently. Arguments are those of ``DefaultSampler``.

    Raises:
        TypeError: If a data set does not take a :class:`SampleSeed`.
    """

    def __init__(self, dataset: Any, **kwargs: Any) -> None:
        for leaf in leaf_datasets(dataset):
            if not getattr(leaf, 'takes_sample_seeds', False):
                raise TypeError(
                    "SeededSampler needs this package's data sets, which "
                    'ConcatDataset and RepeatDataset of MMEngine may wrap, '
                    f'got {type(leaf).__name__}; take DefaultSampler for '
                    'others')
        super().__init__(dataset, **kwargs)
        # the epoch in which a run was resumed, and its clips seen before
        self.resumed_in, self._first_batch = -1, 0
        self._seen = np.empty(0, np.int64)

    def __iter__(self) -> Iterator[SampleSeed]:
        """Iterate over this process's remaining samples of the epoch."""
        order, left = self._order(), self._remaining()
        if self.round_up and left:  # pad as DefaultSampler does
            missing = -len(left) % self.world_size
            left = left + (order * (missing // len(order) + 1))[:missing]
        shard = left[self.rank::self.world_size]
        return (SampleSeed(index, self.epoch, self.seed) for index in shard)

    @cached_property
    def clip_ids(self) -> np.ndarray:
        """:func:`mmlcr.engine.clip_ids` of all samples, int64."""
        return clip_ids_of(self.dataset)

    def skip(self, epoch: int, seen: np.ndarray) -> int:
        """Skip the clips of an epoch that were seen before.

        Args:
            epoch (int): The epoch in which the run is resumed.
            seen (np.ndarray): Result of :meth:`seen_clip_ids` when the
                checkpoint was saved.

        Returns:
            int: Number of clips that remain for all processes together.
        """
        known = Counter(self.clip_ids.tolist())
        self.resumed_in, self._seen = epoch, seen
        return sum((known - Counter(seen.tolist())).values())

    def set_first_batch(self, batch: int) -> None:
        """Set the index of the first batch after :meth:`skip`."""
        self._first_batch = batch

    def seen_clip_ids(self, batches: int, batch_size: int) -> np.ndarray:
        """Return the clips of the current epoch seen after some batches.

        Args:
            batches (int): Number of batches since the start of the epoch.
            batch_size (int): Batch size of all processes together.

        Returns:
            np.ndarray: Their :func:`mmlcr.engine.clip_ids`, int64.
        """
        seen = np.empty(0, np.int64)
        if self.epoch == self.resumed_in:
            seen, batches = self._seen, batches - self._first_batch
        new = self._remaining()[:max(0, batches) * batch_size]
        return np.concatenate([seen, self.clip_ids[new]])

    def _order(self) -> List[int]:
        """Return the samples of the epoch in ``DefaultSampler``'s order."""
        if not self.shuffle:
            return [*range(len(self.dataset))]
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)
        return torch.randperm(
            len(self.dataset), generator=generator).tolist()

    def _remaining(self) -> List[int]:
        """Return the samples of the epoch not seen yet, in order."""
        order = self._order()
        if self.epoch != self.resumed_in:
            return order
        ids, left = self.clip_ids, []
        seen = Counter(self._seen.tolist())
        for index in order:
            if seen[ids[index]]:
                seen[ids[index]] -= 1  # a clip may be in the list twice
            else:
                left.append(index)
        return left


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes all randomness of a training a function of its seed.

    :class:`SeededSampler` seeds the samples. This hook gives the sampler the
    seed of the run, and seeds every iteration for everything else, such as
    dropout and batch augmentations.
    """
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Set the sampler's seed, which a resumed run knows only now."""
        sampler = runner.train_dataloader.sampler
        if isinstance(sampler, SeededSampler):
            sampler.seed = runner.seed

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[Any] = None) -> None:
        """Seed by the run's seed, the iteration and the process."""
        seed_generators(ITERATION, runner.seed, runner.iter, runner.rank)
