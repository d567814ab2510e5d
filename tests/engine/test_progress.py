# Copyright (c) The mmlcr authors. All rights reserved.
"""Each clip is seen once per epoch, even if settings change on resuming."""
from collections import Counter
from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

import mmlcr.engine
from mmlcr.engine import (
    BadClipsHook,
    ResumableTrainLoop,
    SampleSeed,
    SeededSampler,
    clip_ids,
)

CLIPS = 24


class Clips(Dataset):
    """A data set of names, which records what is loaded."""
    takes_sample_seeds = True

    def __init__(self, names: List[str]) -> None:
        self.names, self.loaded = names, []  # type: ignore[var-annotated]
        self.clip_ids = clip_ids(names)

    def __deepcopy__(self, memo: dict) -> 'Clips':
        return self  # MMEngine copies configs

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, draw: SampleSeed) -> dict:
        name = self.names[draw.sample]
        self.loaded.append((draw.epoch, name))
        return dict(inputs=torch.tensor([float(draw.sample)]))


def names(change: str) -> List[str]:
    """The list of the resumed run; ``same`` is that of the first run."""
    found = [f'clip_{number}.mp4' for number in range(CLIPS)]
    if change == 'one more':
        found.insert(5, 'new.mp4')
    elif change == 'one fewer':
        del found[7]
    elif change == 'in another order':
        found.reverse()
    return found


# ---- the sampler, for processes side by side


def samplers(change: str, world: int, epoch: int) -> List[SeededSampler]:
    found = []
    for rank in range(world):
        sampler = SeededSampler(Clips(names(change)), seed=3)
        sampler.rank, sampler.world_size = rank, world
        sampler.num_samples = -(-len(sampler.dataset) // world)
        sampler.total_size = sampler.num_samples * world
        sampler.set_epoch(epoch)
        found.append(sampler)
    return found


def batches(sampler: SeededSampler, size: int) -> List[List[str]]:
    drawn = [sampler.dataset.names[draw.sample] for draw in sampler]
    return [drawn[at:at + size] for at in range(0, len(drawn), size)]


@pytest.mark.parametrize('change', ['same', 'one more', 'one fewer',
                                    'in another order'])
@pytest.mark.parametrize('world', [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)],
                         ids='{0[0]} to {0[1]} processes'.format)
@pytest.mark.parametrize('batch', [(4, 4), (4, 8), (8, 4), (4, 6)],
                         ids='batch {0[0]} to {0[1]}'.format)
def test_what_is_left_is_what_was_not_seen(batch: tuple, world: tuple,
                                           change: str) -> None:
    """Resume within the third epoch, and again within the rest of it."""
    first = samplers('same', world[0], 2)
    parts = [batches(sampler, batch[0]) for sampler in first]
    seen = [name for part in parts for b in part[:2] for name in b]
    ids = first[0].seen_clip_ids(2, batch[0] * world[0])
    assert Counter(ids.tolist()) == Counter(clip_ids(seen).tolist())

    second = samplers(change, world[1], 2)
    left = {sampler.skip(2, ids) for sampler in second}
    expected = sorted({*names(change)} - {*seen})
    assert left == {len(expected)}
    parts = [batches(sampler, batch[1]) for sampler in second]
    assert len({sum(map(len, part)) for part in parts}) == 1  # none waits
    loaded = [name for part in parts for b in part for name in b]
    padded = -len(expected) % world[1]
    assert sorted({*loaded} - {*seen}) == expected
    assert len(loaded) == len(expected) + padded

    for sampler in second:
        sampler.set_first_batch(5)
    again = second[0].seen_clip_ids(6, batch[1] * world[1])
    newly = [name for part in parts for name in sum(part[:1], [])]
    assert {*again.tolist()} == {*clip_ids(seen + newly).tolist()}
    third = samplers(change, 1, 2)[0]
    third.skip(2, again)
    assert {*sum(batches(third, 4), [])} == {*expected} - {*newly}

    third.set_epoch(3)
    assert sorted(sum(batches(third, 4), [])) == sorted(names(change))


def test_unchanged_a_run_goes_on_as_it_would_have() -> None:
    """Also the clips that pad the last batch of two processes."""
    for rank, whole in enumerate(samplers('one more', 2, 1)):
        resumed = samplers('one more', 2, 1)[rank]
        resumed.skip(1, whole.seen_clip_ids(2, 8))
        assert batches(resumed, 4) == batches(whole, 4)[2:]


def test_a_clip_that_is_there_twice_comes_twice() -> None:
    sampler = SeededSampler(Clips(['a', 'b', 'a']), shuffle=False)
    sampler.skip(0, clip_ids(['a']))
    assert [draw.sample for draw in sampler] == [1, 2]


# ---- trainings


class Toy(BaseModel):
    """A model with a single weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: List[Tensor], mode: str = 'loss') -> dict:
        return dict(loss=self.weight * torch.stack(inputs).mean())


class Killed(Exception):
    """Stands for a kill signal."""


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, *, batch: int,
          change: str = 'same', kill_at: Optional[int] = None,
          every: int = 1, by_epoch: bool = True, accumulate: int = 1,
          loop: str = 'ResumableTrainLoop', sampler: str = 'SeededSampler',
          hooks: Sequence[dict] = (), **loading: Any) -> Runner:
    """Train for three epochs, with warm-up and cosine, until killed."""
    data = Clips(names(change))
    by_iteration = dict(by_epoch=True, convert_to_iter_based=True)
    runner = Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=batch, num_workers=0, dataset=data,
            sampler=dict(type=sampler, shuffle=True),
            collate_fn=pseudo_collate, **loading),
        train_cfg=dict(type=loop, max_epochs=3) if 'Iter' not in loop
        else dict(type=loop, max_iters=18),
        optim_wrapper=dict(
            type='OptimWrapper', accumulative_counts=accumulate,
            optimizer=dict(type='SGD', lr=1.)),
        param_scheduler=[] if 'Iter' in loop else [
            dict(type='LinearLR', start_factor=0.1, end=1, **by_iteration),
            dict(type='CosineAnnealingLR', begin=1, end=3, T_max=2,
                 **by_iteration)],
        default_hooks=dict(
            logger=None,
            checkpoint=dict(type='AtomicCheckpointHook', interval=every,
                            by_epoch=by_epoch)),
        default_scope='mmaction',
        custom_hooks=[*hooks],
        randomness=dict(seed=5),
        experiment_name=f'{folder.name}{np.random.rand()}',
        resume=True)
    runner.rates = []
    step = runner.call_hook

    def hook(name: str, **kwargs: Any) -> None:
        if name == 'before_train_iter':
            if runner.iter == kill_at:
                raise Killed
            runner.rates.append(runner.optim_wrapper.get_lr()['lr'][0])
        step(name, **kwargs)

    monkeypatch.setattr(runner, 'call_hook', hook)
    try:
        runner.train()
    except Killed:
        pass
    runner.data = data
    return runner


def loaded(*runs: Runner) -> List[Counter]:
    """How often each clip was loaded, by epoch."""
    found = [Counter() for _ in range(3)]  # type: List[Counter]
    for run in runs:
        for epoch, name in run.data.loaded:
            found[epoch][name] += 1
    return found


@pytest.mark.parametrize('change', ['same', 'one more', 'one fewer'])
@pytest.mark.parametrize('batch', [(4, 8), (8, 4), (4, 6), (4, 4)],
                         ids='batch {0[0]} to {0[1]}'.format)
@pytest.mark.parametrize('inside', [True, False], ids=['inside', 'at the end'])
def test_every_clip_once_an_epoch(inside: bool, batch: tuple, change: str,
                                  tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is killed in the second epoch, or after the first."""
    an_epoch = CLIPS // batch[0]
    kill_at = an_epoch + (2 if inside else 0)
    killed = train(tmp_path, monkeypatch, batch=batch[0], kill_at=kill_at,
                   by_epoch=not inside)
    resumed = train(tmp_path, monkeypatch, batch=batch[1], change=change,
                    by_epoch=not inside)
    first, second, third = loaded(killed, resumed)
    now = {*names(change)}
    # the batch that was fetched when it was killed was not trained on
    fetched = killed.data.loaded[kill_at * batch[0]:]
    second -= Counter(name for _, name in fetched)
    assert first == Counter(names('same'))
    assert {name: second[name] for name in now} == dict.fromkeys(now, 1)
    assert {*second} <= now | {*names('same')}
    assert max(second.values()) == 1
    assert third == Counter(now)
    assert resumed.iter == resumed.max_iters == 3 * -(-len(now) // batch[1])


@pytest.mark.parametrize('batch', [(4, 8), (8, 4), (4, 6)],
                         ids='batch {0[0]} to {0[1]}'.format)
def test_schedules_are_those_of_the_new_batch(batch: tuple, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch
                                              ) -> None:
    """From the second epoch on, as if the batch had always been this one."""
    whole = train(tmp_path / 'whole', monkeypatch, batch=batch[1])
    train(tmp_path / 'part', monkeypatch, batch=batch[0],
          kill_at=CLIPS // batch[0])
    resumed = train(tmp_path / 'part', monkeypatch, batch=batch[1])
    assert len({*whole.rates}) > 6
    assert resumed.rates == whole.rates[CLIPS // batch[1]:]


def test_gradients_that_were_lost_are_taken_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has three batches; the run is killed after the first one."""
    killed = train(tmp_path, monkeypatch, batch=4, accumulate=3, kill_at=4,
                   by_epoch=False)
    resumed = train(tmp_path, monkeypatch, batch=4, accumulate=2,
                    by_epoch=False)
    of_steps = Counter(name for _, name in killed.data.loaded[:12])
    again = Counter(name for epoch, name in resumed.data.loaded if not epoch)
    assert of_steps + again == Counter(names('same'))


def test_a_checkpoint_of_mmengine_gives_its_epochs(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our metadata, another batch size skips no epoch."""
    train(tmp_path, monkeypatch, batch=4, kill_at=6)
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta']['sample_progress']
    torch.save(checkpoint, path)
    resumed = train(tmp_path, monkeypatch, batch=8)
    assert loaded(resumed) == [Counter(), *[Counter(names('same'))] * 2]


@pytest.mark.parametrize('now', [4, 8])
@pytest.mark.parametrize('kill_at', [2, 3, 8, 9, 14, 15])
def test_inside_of_an_epoch_without_our_metadata(
        kill_at: int, now: int, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch continues if nothing changed, else restarts and warns."""
    logged: List[str] = []
    whole = train(tmp_path / 'whole', monkeypatch, batch=4)
    part = tmp_path / 'part'
    train(part, monkeypatch, batch=4, kill_at=kill_at, by_epoch=False)
    path = part / f'iter_{kill_at}.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta']['sample_progress'], checkpoint['seen_clips']
    torch.save(checkpoint, path)
    monkeypatch.setattr(mmlcr.engine.progress, 'print_log',
                        lambda text, *args: logged.append(text))
    resumed = train(part, monkeypatch, batch=now, by_epoch=False)
    assert resumed.iter == resumed.max_iters
    if now == 4:
        assert resumed.data.loaded == whole.data.loaded[kill_at * 4:]
        assert not logged
    else:
        epoch = kill_at // 6
        assert loaded(resumed)[epoch] == Counter(names('same'))
        message = f'epoch {epoch + 1} is restarted'
        assert any(message in text for text in logged)


def test_a_sampler_that_can_not_skip_warns(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: List[str] = []
    plain = dict(sampler='DefaultSampler', batch=4, by_epoch=False)
    monkeypatch.setattr(Clips, '__getitem__', lambda self, at: dict(
        inputs=torch.tensor([float(at)])))
    train(tmp_path, monkeypatch, kill_at=8, **plain)
    monkeypatch.setattr(mmlcr.engine.progress, 'print_log',
                        lambda text, *args: logged.append(text))
    resumed = train(tmp_path, monkeypatch, **plain)
    assert resumed.iter == resumed.max_iters
    assert any('epoch 2 is restarted' in text for text in logged)


def test_a_hook_of_ones_own_counts_as_ours(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnBadClipsHook(BadClipsHook):
        pass

    runner = train(tmp_path, monkeypatch, batch=8, kill_at=0,
                   hooks=[dict(type=OwnBadClipsHook, limit=3)])
    assert sum(isinstance(h, BadClipsHook) for h in runner.hooks) == 1


@pytest.mark.parametrize('loop, message', [
    ('IterBasedTrainLoop', 'samples are skipped or repeated: iterations '
     '6 before, 3 now; batch 4 before, 8 now'),
    ('EpochBasedTrainLoop', 'epoch 1 is restarted'),
])
def test_other_loops_warn_of_what_they_can_not_do(
        loop: str, message: str, tmp_path: Path, caplog: Any,
        monkeypatch: pytest.MonkeyPatch) -> None:
    logged: List[str] = []

    def note(text: str, *args: Any, **kwargs: Any) -> None:
        logged.append(text)

    monkeypatch.setattr(mmlcr.engine.progress, 'print_log', note)
    train(tmp_path, monkeypatch, batch=4, kill_at=3, by_epoch=False, loop=loop)
    logged.clear()
    train(tmp_path, monkeypatch, batch=8, by_epoch=False, loop=loop)
    assert any(message in text for text in logged), logged


def test_ids_are_small_and_of_the_path_alone() -> None:
    ids = clip_ids(['a.mp4', 'b.mp4'])
    assert ids.dtype == np.int64 and ids.nbytes == 16
    assert clip_ids(['b.mp4'])[0] == ids[1] != ids[0]


# ---- hooks of the loop


def test_hooks_of_a_user_take_none_away(tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    """A hook that the config has is not registered twice."""
    runner = train(tmp_path, monkeypatch, batch=8, kill_at=0, hooks=[
        dict(type='EMAHook'), dict(type='BadClipsHook', limit=3)])
    kinds = Counter(type(hook).__name__ for hook in runner.hooks)
    for name in 'SeedHook', 'CheckInvalidLossHook', 'BadClipsHook', 'EMAHook':
        assert kinds[name] == 1, name
    limit, = (h.limit for h in runner.hooks if isinstance(h, BadClipsHook))
    assert limit == 3


def test_hooks_are_disabled_by_name(tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    loop = ResumableTrainLoop.__init__

    def without(self: Any, *args: Any, **kwargs: Any) -> None:
        loop(self, *args, seed_draws=False, stop_at_invalid_loss=False,
             max_bad_clips=7, **kwargs)

    monkeypatch.setattr(ResumableTrainLoop, '__init__', without)
    runner = train(tmp_path, monkeypatch, batch=8, kill_at=0)
    kinds = {type(hook).__name__: hook for hook in runner.hooks}
    assert not {'SeedHook', 'CheckInvalidLossHook'} & {*kinds}
    assert kinds['BadClipsHook'].limit == 7


@pytest.mark.parametrize('inside', [True, False], ids=['inside', 'at the end'])
def test_an_average_of_weights_goes_on_bit_for_bit(
        inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    average = [dict(type='EMAHook', momentum=0.1)]
    whole, part = (tmp_path / name for name in ('whole', 'part'))
    train(whole, monkeypatch, batch=4, hooks=average, by_epoch=not inside)
    train(part, monkeypatch, batch=4, hooks=average, by_epoch=not inside,
          kill_at=8 if inside else 6)
    train(part, monkeypatch, batch=4, hooks=average, by_epoch=not inside)
    name = 'iter_18.pth' if inside else 'epoch_3.pth'
    a, b = (torch.load(folder / name, weights_only=True)
            for folder in (part, whole))
    assert a['state_dict'] == b['state_dict']
    assert a['ema_state_dict'] == b['ema_state_dict']
    assert a['state_dict'] != a['ema_state_dict']


def test_a_set_without_a_batch_is_named(tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    with pytest.raises(ValueError, match=r'24 clips for 1 process.*batches of '
                       '32, and drop_last=True'):
        train(tmp_path, monkeypatch, batch=32, drop_last=True)
