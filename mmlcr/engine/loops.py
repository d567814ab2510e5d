# Copyright (c) The mmlcr authors. All rights reserved.
"""A training loop that can resume at any iteration."""
from typing import Any, List

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner

from .hooks import BadClipsHook, CheckInvalidLossHook
from .seeding import SeedHook


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """:class:`mmengine.runner.EpochBasedTrainLoop` that resumes anywhere.

    From a checkpoint at the end of an epoch, MMEngine continues with the next
    epoch. This loop first validates the epoch if that was not done, so that a
    best checkpoint is not lost. From a checkpoint within an epoch
    (``by_epoch=False`` of the hook), MMEngine restarts the epoch. This loop
    continues with the remaining samples, also with another batch size or
    number of processes, or a list with clips added or removed
    (:mod:`mmlcr.engine.progress`).

    The loop registers the hooks that it needs and that the config lacks,
    because users replace the hooks of a config.

    Args:
        seed_draws (bool): Whether all randomness is a function of the seed, by
            :class:`SeedHook`. Defaults to True.
        stop_at_invalid_loss (bool): Whether a loss that is not finite ends the
            training, by :class:`CheckInvalidLossHook`. Defaults to True.
        max_bad_clips (int): Number of clips that a data set with
            ``bad_clips='skip'`` may skip, by :class:`BadClipsHook`. Defaults
            to 100.
        *args: Arguments of ``EpochBasedTrainLoop``.
        **kwargs: Keyword arguments of ``EpochBasedTrainLoop``.

    Raises:
        ValueError: If the data loader has no batch.
    """

    def __init__(self,
                 runner: Runner,
                 *args: Any,
                 seed_draws: bool = True,
                 stop_at_invalid_loss: bool = True,
                 max_bad_clips: int = 100,
                 **kwargs: Any) -> None:
        super().__init__(runner, *args, **kwargs)
        loader = self.dataloader
        if not len(loader):
            raise ValueError(
                f'no batch to train on: {len(loader.dataset)} clips for '
                f'{runner.world_size} process(es) with batches of '
                f'{loader.batch_size}, and drop_last=True')
        needed: List[Hook] = [BadClipsHook(max_bad_clips)]
        needed += [SeedHook()] * seed_draws
        needed += [CheckInvalidLossHook()] * stop_at_invalid_loss
        for hook in needed:
            if not any(isinstance(h, type(hook)) for h in runner.hooks):
                runner.register_hook(hook)

    def run(self) -> None:
        """Train from the present iteration to the end."""
        self.runner.call_hook('before_train')
        if self._iter == self._epoch * len(self.dataloader) > 0:
            self.validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self.validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def validate_if_due(self) -> None:
        """Validate after an epoch if it is due."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (due or self._epoch == self._max_epochs)):
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """Train on the remaining samples of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        if first:
            print_log(f'continuing after {first} batches of epoch '
                      f'{self._epoch + 1}', 'current')
            self._skip_seen(first)
        for index, batch in enumerate(self.dataloader, first):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _skip_seen(self, batches: int) -> None:
        """Skip the clips that were seen, for a checkpoint without their ids.

        Their order follows from the seed, which is known only now.
        """
        sampler, loader = self.dataloader.sampler, self.dataloader
        if sampler.resumed_in != self._epoch:
            batch_size = loader.batch_size * self.runner.world_size
            sampler.skip(self._epoch,
                         sampler.seen_clip_ids(batches, batch_size))
            sampler.set_first_batch(batches)

    def num_batches(self, clips: int) -> int:
        """Batches per process for a number of clips of all processes."""
        clips = -(-clips // self.runner.world_size)
        if self.dataloader.drop_last:
            return clips // self.dataloader.batch_size
        return -(-clips // self.dataloader.batch_size)
