# Copyright (c) The mmlcr authors. All rights reserved.
"""Progress in samples, so that a run may be resumed with other settings.

MMEngine counts iterations. How many there are in an epoch follows from the
batch size, the number of processes and the length of the list: with others, a
count of before is another place of the training. A checkpoint of this package
holds how many iterations an epoch had, and inside of an epoch which clips had
been seen; when it is loaded, its counts are turned into those of the run that
goes on.
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

KEY, SEEN = 'sample_progress', 'seen_clips'  # in meta, and in a checkpoint


class Progress(NamedTuple):
    """The units that a run counts in."""
    iterations: int  # an epoch
    clips: int  # of the list
    batch: int  # of all processes
    accumulated: int  # batches of a step of the optimizer


def clip_ids(names: List[str]) -> np.ndarray:
    """What clips are known by in a checkpoint: 64 bits of a hash each.

    Args:
        names (list[str]): Paths of the clips.

    Returns:
        np.ndarray: int64, ``(clips, )``.
    """
    digests = b''.join(
        hashlib.blake2b(name.encode(), digest_size=8).digest()
        for name in names)
    return np.frombuffer(digests, np.int64)


def progress_of(runner: Runner) -> Progress:
    """The units of a run."""
    loader = runner.train_loop.dataloader
    return Progress(
        len(loader), len(loader.dataset),
        loader.batch_size * runner.world_size,
        getattr(runner.optim_wrapper, '_accumulative_counts', 1))


def record_progress(runner: Runner, checkpoint: Dict[str, Any]) -> None:
    """Note in a checkpoint how far a run is, in samples.

    Batches whose gradients wait for a step of the optimizer are not in the
    weights, and count as not seen.
    """
    units = progress_of(runner)
    meta = checkpoint['meta']
    meta[KEY] = units._asdict()
    sampler = runner.train_loop.dataloader.sampler
    batches = meta['iter'] - meta['epoch'] * units.iterations
    if batches > 0 and hasattr(sampler, 'ids_seen'):
        pending = meta['iter'] % units.accumulated
        checkpoint[SEEN] = torch.from_numpy(
            sampler.ids_seen(max(0, batches - pending), units.batch))


def convert_progress(runner: Runner, checkpoint: Dict[str, Any]) -> None:
    """Turn the counts of a checkpoint into those of the run that goes on.

    The next epoch, or what is left of one, begins with its first iteration,
    and schedules by iteration are where they would be, had the whole run had
    the present settings.
    """
    meta, units = checkpoint.get('meta', {}), progress_of(runner)
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
                f'{type(runner.train_loop).__name__} goes on by iterations, '
                'whose meaning has changed, so that samples are passed over '
                f'or come twice: {"; ".join(changes)}', 'current',
                logging.WARNING)
        return
    seen: Optional[Tensor] = checkpoint.get(SEEN)
    sampler = runner.train_loop.dataloader.sampler
    done = meta['epoch'] * units.iterations
    can_skip = hasattr(runner.train_loop, 'batches_of') and hasattr(
        sampler, 'skip')
    if seen is not None and can_skip:
        left = sampler.skip(meta['epoch'], seen.cpu().numpy())
        first = units.iterations - runner.train_loop.batches_of(left)
        sampler.begin_at(first)
        done += first
    elif meta['iter'] - meta['epoch'] * before.iterations > 0:
        if not can_skip:
            changes.append('a loop or sampler that can not leave clips out')
        if changes:
            print_log(
                f'epoch {meta["epoch"] + 1} begins anew: the checkpoint does '
                'not tell which of its clips were seen, and there are '
                f'{"; ".join(changes)}', 'current', logging.WARNING)
        else:
            done = meta['iter']
    if done != meta['iter'] or before.iterations != units.iterations:
        print_log(
            f'resumed with {"; ".join(changes) or "a batch to do again"}: '
            f'iteration {meta["iter"]} is iteration {done} now', 'current')
        meta['iter'] = done
        if before.iterations != units.iterations:
            _convert_schedules(runner, checkpoint, done)


def _units_before(checkpoint: Dict[str, Any],
                  now: Progress) -> Optional[Progress]:
    """As the checkpoint has them; one of MMEngine tells one of them alone."""
    meta = checkpoint['meta']
    if KEY in meta:
        return Progress(**meta[KEY])
    epoch, iteration = meta['epoch'], meta['iter']
    told = checkpoint.get('message_hub', {}).get('runtime_info', {})
    if told.get('max_epochs') and told.get('max_iters'):
        an_epoch = told['max_iters'] // told['max_epochs']
    elif 0 <= iteration - epoch * now.iterations < now.iterations:
        an_epoch = now.iterations  # nothing speaks against it
    elif epoch and not iteration % epoch:  # the end of an epoch
        an_epoch = iteration // epoch
    else:
        return None
    unknown: Any = None
    return Progress(an_epoch, unknown, unknown, unknown)


def _convert_schedules(runner: Runner, checkpoint: Dict[str, Any],
                       iteration: int) -> None:
    """Walk new schedules to where they are now, and take their state.

    They are not scaled: most of MMEngine's compute a value from the last one.
    """
    schedulers = runner.param_schedulers
    if not schedulers:
        return
    known = isinstance(schedulers, list) and 'optimizer' in checkpoint and (
        not any(  # a metric decides, which can't be walked through again
            isinstance(each, ReduceOnPlateauParamScheduler)
            for each in schedulers))
    if not known:
        print_log(
            'schedules by iteration are not those of the new number of '
            f'iterations: {schedulers}', 'current', logging.WARNING)
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of steps without an optimizer's
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
