# Copyright (c) The mmlcr authors. All rights reserved.
"""Training that goes on where it was killed."""
import logging

from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from .draws import SeededSampler


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """:class:`mmengine.runner.EpochBasedTrainLoop` that resumes anywhere.

    MMEngine goes on with the epoch after a checkpoint of its end: an epoch
    that it had not validated yet is validated first, so that its best
    checkpoint is not lost. From a checkpoint inside of an epoch
    (``by_epoch=False`` of the hook) MMEngine begins the epoch anew: here it
    goes on with the samples that are left of it.

    Arguments are those of ``EpochBasedTrainLoop``.
    """

    def run(self) -> None:
        """Train, from wherever the run is."""
        self.runner.call_hook('before_train')
        if self._iter == self._epoch * len(self.dataloader) > 0:
            self.validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self.validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def validate_if_due(self) -> None:
        """After an epoch."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (due or self._epoch == self._max_epochs)):
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """What is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first, sampler = self._batches_seen(), self.dataloader.sampler
        if first:
            print_log(f'going on after {first} batches of epoch '
                      f'{self._epoch + 1}', 'current')
            sampler.skipped = first * self.dataloader.batch_size
        for index, batch in enumerate(self.dataloader, first):
            self.run_iter(index, batch)
        if first:
            sampler.skipped = 0  # of this epoch alone
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_seen(self) -> int:
        """How many of this epoch, before a checkpoint inside of it."""
        seen = self._iter - self._epoch * len(self.dataloader)
        if not seen:
            return 0
        reason = None
        if not 0 < seen <= len(self.dataloader):
            reason = 'an epoch has another number of batches than before'
        elif not isinstance(self.dataloader.sampler, SeededSampler):
            reason = 'the sampler is no SeededSampler'
        if reason is None:
            return seen
        print_log(
            f'resumed at iteration {self._iter}; epoch {self._epoch + 1} '
            f'begins anew: {reason}', 'current', logging.WARNING)
        return 0
