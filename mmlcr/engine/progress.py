# Copyright (c) The mmlcr authors. All rights reserved.
"""Progress in samples, so that a run can be resumed with other settings.

MMEngine counts iterations. The number of iterations per epoch depends on the
batch size, the number of processes and the length of the list, so with other
settings an old count is another point of the training. A checkpoint of this
package therefore also stores the number of iterations per epoch and, within an
epoch, the clips that were seen. When it is loaded, its counts are converted to
those of the resumed run.
"""
import hashlib
import logging
import warnings
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

# keys of the units in meta, and of the clips in the checkpoint
KEY, SEEN = 'sample_progress', 'seen_clips'


class Progress(NamedTuple):
    """The units in which a run counts."""
    iterations: int  # per epoch
    clips: int  # in the list
    batch: int  # clips per batch of all processes
    accumulated: int  # batches per step of the optimizer


def clip_ids(names: List[str]) -> np.ndarray:
    """Return identifiers of clips: 64 bits of a hash of each name.

    Args:
        names (list[str]): Paths of the clips.

    Returns:
        np.ndarray: int64, ``(clips, )``.
    """
    digests = b''.join(
        hashlib.blake2b(name.encode(), digest_size=8).digest()
        for name in names)
    return np.frombuffer(digests, np.int64)


def progress_units(runner: Runner) -> Progress:
    """Return the units of a run."""
    loader = runner.train_loop.dataloader
    return Progress(
        len(loader), len(loader.dataset),
        loader.batch_size * runner.world_size,
        getattr(runner.optim_wrapper, '_accumulative_counts', 1))


def record_progress(runner: Runner, checkpoint: Dict[str, Any]) -> None:
    """Add the progress of a run in samples to a checkpoint.

    Batches whose gradients were accumulated since the last step of the
    optimizer are not in the weights, and count as not seen.
    """
    units = progress_units(runner)
    meta = checkpoint['meta']
    meta[KEY] = units._asdict()
    sampler = runner.train_loop.dataloader.sampler
    batches = meta['iter'] - meta['epoch'] * units.iterations
    if batches > 0 and hasattr(sampler, 'seen_clip_ids'):
        pending = meta['iter'] % units.accumulated
        checkpoint[SEEN] = torch.from_numpy(
            sampler.seen_clip_ids(max(0, batches - pending), units.batch))


def convert_progress(runner: Runner, checkpoint: Dict[str, Any]) -> None:
    """Convert the counts of a checkpoint to those of the resumed run.

    The next epoch, or the rest of the present one, then begins at its first
    iteration. Schedules by iteration are advanced as if the whole run had had
    the present settings.
    """
    meta, units = checkpoint.get('meta', {}), progress_units(runner)
    if 'iter' not in meta or 'epoch' not in meta:
        return
    before = _units_before(checkpoint, units)
    if before is None:
        return
    changes = [
        f'{name} {old} before, {new} now'
        for name, old, new in zip(before._fields, before, units)
        if old is not None and old != new
    ]
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        if changes:
            print_log(
                f'{type(runner.train_loop).__name__} continues by iterations, '
                'whose meaning has changed, so that samples are skipped or '
                f'repeated: {"; ".join(changes)}', 'current',
                logging.WARNING)
        return
    seen: Optional[Tensor] = checkpoint.get(SEEN)
    sampler = runner.train_loop.dataloader.sampler
    done = meta['epoch'] * units.iterations
    can_skip = hasattr(runner.train_loop, 'num_batches') and hasattr(
        sampler, 'skip')
    if seen is not None and can_skip:
        left = sampler.skip(meta['epoch'], seen.cpu().numpy())
        first = units.iterations - runner.train_loop.num_batches(left)
        sampler.set_first_batch(first)
        done += first
    elif meta['iter'] - meta['epoch'] * before.iterations > 0:
        if not can_skip:
            changes.append('a loop or sampler that can not skip clips')
        if changes:
            print_log(
                f'epoch {meta["epoch"] + 1} is restarted: the checkpoint does '
                'not store which of its clips were seen, and there are '
                f'{"; ".join(changes)}', 'current', logging.WARNING)
        else:
            done = meta['iter']
    if done != meta['iter'] or before.iterations != units.iterations:
        print_log(
            f'resumed with {"; ".join(changes) or "a batch to repeat"}: '
            f'iteration {meta["iter"]} is iteration {done} now', 'current')
        meta['iter'] = done
        if before.iterations != units.iterations:
            _convert_schedules(runner, checkpoint, done)


def _units_before(checkpoint: Dict[str, Any],
                  now: Progress) -> Optional[Progress]:
    """Return the units of a checkpoint; None if they are unknown.

    A checkpoint of MMEngine's own hook gives only the iterations.
    """
    meta = checkpoint['meta']
    if KEY in meta:
        return Progress(**meta[KEY])
    epoch, iteration = meta['epoch'], meta['iter']
    info = checkpoint.get('message_hub', {}).get('runtime_info', {})
    if info.get('max_epochs') and info.get('max_iters'):
        iterations = info['max_iters'] // info['max_epochs']
    elif 0 <= iteration - epoch * now.iterations < now.iterations:
        iterations = now.iterations  # the counts fit the present ones
    elif epoch and not iteration % epoch:  # the end of an epoch
        iterations = iteration // epoch
    else:
        return None
    unknown: Any = None
    return Progress(iterations, unknown, unknown, unknown)


def _convert_schedules(runner: Runner, checkpoint: Dict[str, Any],
                       iteration: int) -> None:
    """Advance new schedules to the present iteration and store their state.

    They are stepped from the start, as most of MMEngine's schedules compute a
    value from the previous one.
    """
    schedulers = runner.param_schedulers
    if not schedulers:
        return
    known = isinstance(schedulers, list) and 'optimizer' in checkpoint and (
        not any(  # depends on metrics of past epochs
            isinstance(scheduler, ReduceOnPlateauParamScheduler)
            for scheduler in schedulers))
    if not known:
        print_log(
            'schedules by iteration are not converted to the new number of '
            f'iterations: {schedulers}', 'current', logging.WARNING)
        return
    with warnings.catch_warnings():
        # torch warns of a schedule's step without one of the optimizer
        warnings.simplefilter('ignore')
        for number in range(1, iteration + 1):
            ends_epoch = number % len(runner.train_loop.dataloader) == 0
            for scheduler in schedulers:
                if not scheduler.by_epoch or ends_epoch:
                    scheduler.step()
    checkpoint['param_schedulers'] = [
        scheduler.state_dict() for scheduler in schedulers
    ]
    groups = runner.optim_wrapper.param_groups
    for group, saved in zip(groups, checkpoint['optimizer']['param_groups']):
        names = {scheduler.param_name for scheduler in schedulers}
        for name in names | {f'initial_{name}' for name in names}:
            if name in group:
                saved[name] = group[name]
