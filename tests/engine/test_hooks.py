# Copyright (c) The mmlcr authors. All rights reserved.
"""Invalid losses and bad clips stop a training; the error names them."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List

import pytest
import torch
from mmengine.structures import BaseDataElement
from processes import run_script

from mmlcr.engine import BadClipsHook, CheckInvalidLossHook, TrainingError
from mmlcr.engine.hooks import _samples

ROOT = Path(__file__).resolve().parents[2]
# what a training does wrong, in a file of its own that runs the tool
SPOILT = """
import runpy, sys, torch
import mmlcr
from mmlcr.engine import SeedHook
from mmlcr.models import LCRHead

def spoil(self, runner, batch_idx, data_batch=None):
    head = runner.model.cls_head
    if runner.iter == {iteration}:
        with torch.no_grad():
            {how}

SeedHook.before_train_iter = spoil
"""
# a decoder that crashes on a clip
CRASHES = """
import os, runpy, signal, sys
import mmlcr
from mmlcr.transforms import VideoDecode

decode = VideoDecode.transform

def transform(self, results):
    if results['filename'].endswith('{clip}'):
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(self, results)

VideoDecode.transform = transform
"""
RUN = """
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""
# lets a training wait until a worker of its loader is gone
ELSEWHERE = """
import time
from mmlcr.engine import SeedHook

def wait(*args, **kwargs):
    try:
        time.sleep(60)
    except RuntimeError:
        raise ImportError('no module of that name')

SeedHook.before_train_iter = wait
"""


@pytest.fixture
def folder(tmp_path: Path, make_video: Callable) -> Path:
    """A data set of six clips, two of them too short."""
    lines = []
    for number in range(6):
        frames = 8 if number in (1, 4) else 20
        make_video(f'videos/{number}.mp4', num_frames=frames, step=number)
        lines.append(f'{number}.mp4 {number}\n')
    (tmp_path / 'train.txt').write_text(''.join(lines))
    for split in ('val', 'test'):
        (tmp_path / f'{split}.txt').write_text(lines[0])
    (tmp_path / 'classes.txt').write_text('\n'.join('abcdefghijkl'))
    return tmp_path


def train(folder: Path, *options: str, script: str = '') -> str:
    """Run a training; return its exit code and output as one text."""
    before = ['-c', script + RUN] if script else []
    result = run_script(
        *before, ROOT / 'tools/train.py', 'configs/lcr_motion.py',
        '--data-root', folder, '--work-dir', folder / 'work', '--cfg-options',
        'train_cfg.max_epochs=2', 'train_dataloader.batch_size=2',
        'dataset.open_files=False',
        'train_dataloader.dataset.open_files=False',
        'train_dataloader.dataset.short_clips=stop',
        'default_hooks.checkpoint.interval=1', *options, cwd=folder)
    return f'{result.returncode}\n{result.stdout}{result.stderr}'


SKIP = 'train_dataloader.dataset.bad_clips=skip'


def test_a_bad_clip_stops_by_its_path(folder: Path) -> None:
    output = train(folder)
    assert output.startswith('1\n')
    assert 'has 8 frames, and 8 frames with an interval of 2 need 15' in output
    assert str(folder / 'videos/1.mp4') in output or '4.mp4' in output


def test_bad_clips_are_skipped_counted_and_listed(folder: Path) -> None:
    output = train(folder, SKIP)
    assert output.startswith('0\n'), output[-2000:]
    assert '2 more bad clips were skipped, 2 in all' in output
    lines = (folder / 'work/bad_clips.txt').read_text().splitlines()
    assert sorted(Path(line.split('\t')[0]).name for line in lines
                  ) == ['1.mp4', '4.mp4']
    assert all('has 8 frames' in line for line in lines)


def test_short_clips_are_counted_once(folder: Path) -> None:
    """Videos, whose lengths are not known before they are read."""
    output = train(folder, 'train_dataloader.dataset.short_clips=repeat')
    assert output.startswith('0\n'), output[-2000:]
    assert output.count('2 clips of the first epoch have fewer frames') == 1
    assert f'{folder}/videos/1.mp4 has 8 frames, and 8 frames with' in output
    assert not (folder / 'work/bad_clips.txt').exists()


def test_short_clips_of_all_processes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    of_ranks = [{'a.mp4': 'has 8'}, {'b.mp4': 'has 9'}]
    monkeypatch.setattr('mmlcr.engine.hooks.all_gather_object',
                        lambda found: of_ranks if 'a.mp4' in found else [{}])
    logged: List[str] = []
    runner = SimpleNamespace(rank=0, work_dir='.', logger=SimpleNamespace(
        warning=logged.append))
    hook = BadClipsHook()
    batch = dict(data_samples=[dict(path='a.mp4', short='has 8'),
                               dict(path='c.mp4', short='')])
    for _ in range(2):  # epochs
        hook.after_train_iter(runner, 0, batch)
        hook.after_train_epoch(runner)
    assert len(logged) == 1
    assert logged[0].startswith('2 clips') and 'a.mp4 has 8' in logged[0]


def test_too_many_bad_clips_stop(folder: Path) -> None:
    output = train(folder, SKIP, 'train_cfg.max_bad_clips=1')
    assert output.startswith('1\n')
    assert '2 bad clips, more than the limit of 1' in output
    assert len((folder / 'work/bad_clips.txt').read_text().splitlines()) == 2


@pytest.mark.parametrize('rank', [0, 1])
def test_too_many_bad_clips_of_all_processes(
        rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stops at the end of the epoch; the first writes the list."""
    of_ranks = [{'a.mp4': 'a'}, {'b.mp4': 'b', 'c.mp4': 'c'}]
    monkeypatch.setattr('mmlcr.engine.hooks.all_gather_object',
                        lambda seen: of_ranks)
    runner = SimpleNamespace(rank=rank, work_dir=str(tmp_path),
                             logger=logging.getLogger('quiet'))
    hook = BadClipsHook(limit=2)
    batch = dict(data_samples=[dict(skipped=of_ranks[rank])])
    hook.after_train_iter(runner, 0, batch)
    written = tmp_path / 'bad_clips.txt'
    with pytest.raises(TrainingError, match=f'3 bad clips.*{written}'):
        hook.after_train_epoch(runner)
    assert written.exists() == (rank == 0)
    with pytest.raises(TrainingError):  # inside of an epoch
        hook.after_train_iter(runner, 1, batch)
    names = [path.name for path in tmp_path.iterdir()]
    assert names == [f'bad_clips{"_1" * rank}.txt']


@pytest.mark.parametrize('how, message', [
    ("head.fc_cls.weight.fill_(float('nan'))", 'the loss is nan'),
    ('head.fc_cls.weight.fill_(3e38)', 'the loss is '),
], ids=['nan', 'overflow'])
def test_a_loss_that_is_not_finite_stops(how: str, message: str,
                                         folder: Path) -> None:
    """It is in the second epoch; the checkpoint of the first is valid."""
    script = SPOILT.format(iteration=4, how=how)
    output = train(folder, SKIP, script=script)
    assert output.startswith('1\n') and 'TrainingError' in output
    assert message in output and 'in epoch 2, iteration 5' in output
    assert output.count(str(folder / 'videos')) >= 2
    good = torch.load(folder / 'work/epoch_1.pth', weights_only=True)
    assert all(w.isfinite().all() for w in good['state_dict'].values())
    assert not (folder / 'work/epoch_2.pth').exists()


@pytest.mark.parametrize('workers', [1, 3])
def test_a_decoder_that_crashes_names_the_clip(workers: int,
                                               folder: Path) -> None:
    """It crashes in training; clips of other workers are not named."""
    output = train(folder, SKIP, f'train_dataloader.num_workers={workers}',
                   script=CRASHES.format(clip='3.mp4'))
    assert output.startswith('1\n') and 'ClipError: ' in output, output
    error = output[output.rindex('ClipError: '):]
    assert error.startswith(
        f'ClipError: {folder}/videos/3.mp4: a worker process died')
    assert 'Segmentation fault' in error or 'exited unexpectedly' in error


def test_a_decoder_that_crashes_at_a_bad_moment(folder: Path) -> None:
    """The main process raises an error of its own meanwhile."""
    script = CRASHES.format(clip='5.mp4') + ELSEWHERE
    output = train(folder, SKIP, 'train_dataloader.sampler.shuffle=False',
                   script=script)
    assert output.startswith('1\n'), output
    assert (f'ClipError: {folder}/videos/5.mp4: a worker process died on it: '
            'no' in output)


def test_a_decoder_that_crashes_before_training(folder: Path) -> None:
    """It crashes while all clips are opened."""
    output = train(folder, 'train_dataloader.dataset.open_files=True',
                   script=CRASHES.format(clip='0.mp4'))
    assert f'ClipError: {folder}/videos/0.mp4: a decoder crashed' in output


def test_a_decoder_that_crashes_after_training(folder: Path) -> None:
    """It crashes while the epoch is validated."""
    output = train(folder, SKIP, 'train_cfg.val_interval=1',
                   'val_dataloader.dataset.open_files=False',
                   'train_dataloader.dataset.pipeline.2.type=OpenCVDecode',
                   'train_dataloader.dataset.pipeline.0.type=OpenCVInit',
                   script=CRASHES.format(clip='0.mp4'))
    assert f'ClipError: {folder}/videos/0.mp4: a worker process died' in output


def test_weights_that_are_not_finite_are_not_written(folder: Path) -> None:
    """The loss does not depend on this weight."""
    script = SPOILT.format(
        iteration=5, how="head.register_parameter('more', torch.nn.Parameter("
        "torch.tensor(float('nan'))))")
    output = train(folder, SKIP, script=script)
    assert output.startswith('1\n')
    assert 'cls_head.more is not finite: no checkpoint' in output
    assert (folder / 'work/epoch_1.pth').exists()
    assert not (folder / 'work/epoch_2.pth').exists()


@pytest.mark.filterwarnings('error')
def test_hooks_take_any_batch() -> None:
    """Batches of other data sets, and tuples."""
    batches: List[Any] = [None, [], {}, dict(data_samples=[BaseDataElement()])]
    for batch in batches:
        BadClipsHook().after_train_iter(None, 0, batch)
        for loss in 1., torch.ones((), requires_grad=True):
            CheckInvalidLossHook().after_train_iter(
                None, 0, batch, dict(loss=loss))
        assert len(list(_samples(batch))) <= 1
    assert issubclass(TrainingError, RuntimeError)
