# Copyright (c) The mmlcr authors. All rights reserved.
"""Random draws that are functions of seed, epoch and sample.

So a run that was killed goes on as if it had not been, whatever had been
drawn, and a clip is cropped alike by whichever process or worker loads it.
"""
import itertools
import random
from typing import Any, Iterator, NamedTuple, Optional

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner

OF_SAMPLE, OF_ITERATION = range(2)  # what is drawn


class Draw(NamedTuple):
    """A sample, and what its random draws depend on."""
    sample: int
    epoch: int
    seed: int

    def begin(self) -> None:
        """Seed all that is drawn from now on."""
        seed_draws(OF_SAMPLE, *self)


def seed_draws(*numbers: int) -> None:
    """Seed Python's, numpy's and torch's generators by some numbers."""
    of_each = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(of_each[0]))
    np.random.seed(of_each[1])
    torch.manual_seed(int(of_each[2]))


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """:class:`mmengine.dataset.DefaultSampler` for data sets of this package.

    Gives a :class:`Draw` for each sample, by which
    :class:`mmlcr.datasets.CheckedVideoDataset` and its like seed their
    pipeline. Arguments are those of ``DefaultSampler``.

    Raises:
        TypeError: If the data set does not take draws.
    """

    def __init__(self, dataset: Any, **kwargs: Any) -> None:
        if not getattr(dataset, 'takes_draws', False):
            raise TypeError("SeededSampler goes with this package's data "
                            f'sets, got {type(dataset).__name__}; take '
                            'DefaultSampler for others')
        super().__init__(dataset, **kwargs)
        self.skipped = 0  # samples of an epoch that have been seen before

    def __iter__(self) -> Iterator[Draw]:
        """What is left of an epoch."""
        left = itertools.islice(super().__iter__(), self.skipped, None)
        return (Draw(sample, self.epoch, self.seed) for sample in left)


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes all draws of a training functions of its seed.

    Those of samples by :class:`SeededSampler`; here all others, as of dropout
    and of blended clips.
    """
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """The seed of a run that is resumed is known only now."""
        sampler = runner.train_dataloader.sampler
        if isinstance(sampler, SeededSampler):
            sampler.seed = runner.seed

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[Any] = None) -> None:
        """By the run's seed, the iteration and the process."""
        seed_draws(OF_ITERATION, runner.seed, runner.iter, runner.rank)
