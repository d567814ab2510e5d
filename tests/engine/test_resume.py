# Copyright (c) The mmlcr authors. All rights reserved.
"""Killed and resumed runs end bit for bit like uninterrupted ones."""
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import torch
from processes import run_script
from torch.utils._pytree import tree_flatten

HERE = Path(__file__).resolve().parent
# one worker of xdist runs what shares an uninterrupted training
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('resume')]
SMALL = ('train_cfg.max_epochs=3', 'train_cfg.val_interval=1',
         'train_dataloader.batch_size=8', 'train_dataloader.num_workers=2',
         'model.cls_head.dropout_ratio=0.5',
         'default_hooks.checkpoint.interval=1')
INSIDE = ('default_hooks.checkpoint.by_epoch=False',
          'default_hooks.checkpoint.interval=2',
          'default_hooks.checkpoint.max_keep_ckpts=1')


def train(folder: Path, work_dir: str, *options: str, kill_at: str = '',
          seed: Any = 0, config: str = 'configs/lcr_motion.py'
          ) -> subprocess.CompletedProcess:
    """Train for three epochs of three iterations, resuming in the folder."""
    seeded = [] if seed is None else ['--seed', str(seed)]
    return run_script(
        HERE / 'kill_at.py', config, '--resume', *seeded,
        '--work-dir', work_dir, '--cfg-options', *SMALL, *options,
        cwd=folder, environment={'KILL_AT': kill_at})


@pytest.fixture(scope='module')
def uninterrupted(folder: Path) -> Dict[str, Any]:
    result = train(folder, 'whole')
    assert result.returncode == 0, result.stderr[-2000:]
    return trained(folder / 'whole', 'epoch_3.pth')


def trained(work_dir: Path, name: str) -> Dict[str, Any]:
    checkpoint = torch.load(work_dir / name, weights_only=True)
    return {key: checkpoint[key] for key in ('state_dict', 'optimizer',
                                             'param_schedulers')}


def assert_same(found: Any, expected: Any) -> None:
    """Check equality to the last bit."""
    found, structure = tree_flatten(found)
    expected, expected_structure = tree_flatten(expected)
    assert structure == expected_structure
    for a, b in zip(found, expected):
        if isinstance(b, torch.Tensor):
            assert torch.equal(a, b)
        elif not callable(b):
            assert a == b


def best(work_dir: Path) -> List[Tuple[str, Any]]:
    return [(path.name, torch.load(path, weights_only=True)['state_dict'])
            for path in work_dir.glob('best_*.pth')]


# in each epoch: fsync and move of the checkpoint, of its folder, of the file
# that names it, and of the folder; with a new best, of that, and all again
@pytest.mark.parametrize('kill_at', [
    ['iteration:4'], ['fsync:1'], ['replace:2'], ['fsync:9', 'iteration:7'],
], ids='-'.join)
def test_killed_in_an_epoch_or_a_write(kill_at: List[str], folder: Path,
                                       uninterrupted: Dict[str, Any]) -> None:
    work_dir = '-'.join(kill_at)
    for moment in kill_at:
        killed = train(folder, work_dir, kill_at=moment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    result = train(folder, work_dir)
    assert result.returncode == 0, result.stderr[-2000:]
    assert_same(trained(folder / work_dir, 'epoch_3.pth'), uninterrupted)
    assert_same(best(folder / work_dir), best(folder / 'whole'))
    assert not list((folder / work_dir).glob('*.part'))


def test_checkpoints_inside_of_an_epoch(folder: Path,
                                        uninterrupted: Dict[str, Any]
                                        ) -> None:
    """Continue with the remaining samples and the checkpoint's seed."""
    killed = train(folder, 'inside', *INSIDE, kill_at='iteration:5')
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    result = train(folder, 'inside', *INSIDE, seed=None)
    assert result.returncode == 0, result.stderr[-2000:]
    assert 'continuing after 1 batches of epoch 2' in result.stdout
    assert_same(trained(folder / 'inside', 'iter_9.pth'), uninterrupted)


WRAPPED = """
_base_ = ['{root}/configs/lcr_motion.py']
clips = {{{{_base_.train_dataloader.dataset}}}}
more = dict(type='RepeatDataset', times=2, dataset=clips)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ConcatDataset', datasets=[clips, more]))
"""


def test_inside_of_wrapped_data_sets(folder: Path) -> None:
    """72 samples in batches of 8 are nine iterations per epoch."""
    config = folder / 'wrapped.py'
    config.write_text(WRAPPED.format(root=HERE.parents[1]))
    how = dict(config=str(config))
    whole = train(folder, 'wrapped', *INSIDE, **how)
    assert whole.returncode == 0, whole.stderr[-2000:]
    killed = train(folder, 'wrapped_killed', *INSIDE, kill_at='iteration:13',
                   **how)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    result = train(folder, 'wrapped_killed', *INSIDE, **how)
    assert result.returncode == 0, result.stderr[-2000:]
    assert 'continuing after 3 batches of epoch 2' in result.stdout
    assert_same(trained(folder / 'wrapped_killed', 'iter_27.pth'),
                trained(folder / 'wrapped', 'iter_27.pth'))


def test_under_mmengine_s_flexible_runner(folder: Path,
                                          uninterrupted: Dict[str, Any]
                                          ) -> None:
    """MMEngine's strategies use it; results are the same to the bit."""
    flexible = 'runner_type=FlexibleRunner'
    killed = train(folder, 'flexible', flexible, kill_at='iteration:4')
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    result = train(folder, 'flexible', flexible)
    assert result.returncode == 0, result.stderr[-2000:]
    assert_same(trained(folder / 'flexible', 'epoch_3.pth'), uninterrupted)
    assert_same(best(folder / 'flexible'), best(folder / 'whole'))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 16 MiB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk],
        capture_output=True, text=True) if shutil.which('mount') else None
    if mounted is None or mounted.returncode:
        pytest.skip('nobody but root can mount a small disk')
    yield disk
    subprocess.run(['umount', disk], check=True)


def test_a_full_disk(small_disk: Path, folder: Path,
                     uninterrupted: Dict[str, Any]) -> None:
    """It is reported, the last checkpoint is valid, and training resumes."""
    work_dir = small_disk / 'work'
    assert train(folder, str(work_dir), kill_at='iteration:5').returncode < 0
    before = (work_dir / 'epoch_1.pth').read_bytes()
    left = shutil.disk_usage(small_disk).free - len(before) // 2
    (small_disk / 'ballast').write_bytes(bytes(left))
    full = train(folder, str(work_dir))
    assert full.returncode == 1
    assert ('OSError: [Errno 28] No space left on device: the previous '
            f"file is unchanged: '{work_dir}/epoch_2.pth'") in full.stderr
    assert (work_dir / 'epoch_1.pth').read_bytes() == before
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert not list(work_dir.glob('*.part'))
    (small_disk / 'ballast').unlink()
    result = train(folder, str(work_dir))
    assert result.returncode == 0, result.stderr[-2000:]
    assert_same(trained(work_dir, 'epoch_3.pth'), uninterrupted)
