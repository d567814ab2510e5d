# Copyright (c) The mmlcr authors. All rights reserved.
"""Random draws that are functions of seed, epoch and sample.

So a run that was killed goes on as if it had not been, whatever had been
drawn, and a clip is cropped alike by whichever process or worker loads it.
"""
import random
from collections import Counter
from typing import Any, Iterator, List, NamedTuple, Optional

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
        # of the epoch in which a run was resumed: what had been seen before
        self.resumed_in, self._first_batch = -1, 0
        self._seen = np.empty(0, np.int64)

    def __iter__(self) -> Iterator[Draw]:
        """What is left of an epoch, for this process."""
        order, left = self._order(), self._left()
        if self.round_up and left:  # as DefaultSampler, to an equal number
            missing = -len(left) % self.world_size
            left = left + (order * (missing // len(order) + 1))[:missing]
        mine = left[self.rank::self.world_size]
        return (Draw(sample, self.epoch, self.seed) for sample in mine)

    def skip(self, epoch: int, seen: np.ndarray) -> int:
        """Leave clips out of an epoch.

        Args:
            epoch (int): In which a run is resumed.
            seen (np.ndarray): Of :meth:`ids_seen`, when it was saved.

        Returns:
            int: How many clips are left for all processes.
        """
        known = Counter(self.dataset.clip_ids.tolist())
        self.resumed_in, self._seen = epoch, seen
        return sum((known - Counter(seen.tolist())).values())

    def begin_at(self, batch: int) -> None:
        """Tell the number of the first batch after :meth:`skip`."""
        self._first_batch = batch

    def ids_seen(self, batches: int, batch: int) -> np.ndarray:
        """Clips of the running epoch after so many batches.

        Args:
            batches (int): From the begin of the epoch.
            batch (int): Clips in each, of all processes.

        Returns:
            np.ndarray: Their :func:`mmlcr.engine.clip_ids`, int64.
        """
        seen = np.empty(0, np.int64)
        if self.epoch == self.resumed_in:
            seen, batches = self._seen, batches - self._first_batch
        new = self._left()[:max(0, batches) * batch]
        return np.concatenate([seen, self.dataset.clip_ids[new]])

    def _order(self) -> List[int]:
        """All clips of the epoch, in the order of :class:`DefaultSampler`."""
        if not self.shuffle:
            return [*range(len(self.dataset))]
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)
        return torch.randperm(
            len(self.dataset), generator=generator).tolist()

    def _left(self) -> List[int]:
        """Those that have not been seen, in that order."""
        order = self._order()
        if self.epoch != self.resumed_in:
            return order
        ids, left = self.dataset.clip_ids, []
        seen = Counter(self._seen.tolist())
        for sample in order:
            if seen[ids[sample]]:
                seen[ids[sample]] -= 1  # a clip may be there twice
            else:
                left.append(sample)
        return left


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
