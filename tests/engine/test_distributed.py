# Copyright (c) The mmlcr authors. All rights reserved.
"""Two processes with gloo train like one with the same batch."""
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest
import torch

from mmlcr.engine import read_dump

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# the order of sums differs
GRADIENT_TOLERANCE = 1e-5  # float32, of all gradients, in norm
WEIGHT_TOLERANCE = 1e-9  # float64, after twelve steps
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('distributed')]


def together(folder: Path, *command: object,
             **environment: str) -> subprocess.CompletedProcess:
    """Two processes by tools/dist_train.sh or torchrun."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    if not str(command[0]).endswith('.sh'):
        command = (sys.executable, '-m', 'torch.distributed.run',
                   '--nproc_per_node', 2, '--master_port', port, *command)
    return subprocess.run(
        [*map(str, command)], cwd=folder, text=True, capture_output=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT),
             'PORT': str(port), 'PYTHON': sys.executable, **environment})


def train(folder: Path, processes: int, precision: str) -> Path:
    """Four epochs of three steps of eight clips."""
    work_dir = folder / f'{precision}_{processes}'
    command = [
        HERE / 'in_double.py', 'configs/lcr_motion.py', '--seed', 0,
        '--no-validate', '--work-dir', work_dir, '--cfg-options',
        'train_cfg.max_epochs=4',
        f'train_dataloader.batch_size={8 // processes}'
    ]
    environment = {'PRECISION': precision, 'GRADIENTS': f'{work_dir}.pth'}
    if processes > 1:
        command[2:2] = ['--launcher', 'pytorch']
        result = together(folder, *command, **environment)
    else:
        result = subprocess.run(
            [sys.executable, *map(str, command)], cwd=folder, text=True,
            capture_output=True, timeout=300,
            env={**os.environ, 'OMP_NUM_THREADS': '1',
                 'PYTHONPATH': str(ROOT), **environment})
    assert result.returncode == 0, result.stderr[-3000:]
    return work_dir


@pytest.mark.parametrize('precision', ['float32', 'float64'])
def test_two_processes_are_one(precision: str, folder: Path,
                               relative_error: Callable) -> None:
    one, two = (train(folder, n, precision) for n in (1, 2))
    gradients = [
        torch.cat([g.flatten() for g in torch.load(f'{work_dir}.pth')])
        for work_dir in (one, two)
    ]
    dtype = getattr(torch, precision)
    assert gradients[0].dtype == dtype and gradients[0].norm() > 0
    assert relative_error(gradients[1], gradients[0]) < GRADIENT_TOLERANCE
    if dtype == torch.float32:
        return  # AdamW makes steps of rounding errors, too
    weights = [
        torch.load(work_dir / 'epoch_4.pth', weights_only=True)['state_dict']
        for work_dir in (one, two)
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        if expected.is_floating_point() and expected.norm():
            assert relative_error(weights[1][name],
                                  expected) < WEIGHT_TOLERANCE, name


def test_a_last_batch_that_is_padded(folder: Path) -> None:
    """23 clips for two processes, five at a time; then tested by two."""
    data, lists = folder / 'odd', folder / 'data/motion'
    data.mkdir()
    (data / 'videos').symlink_to(lists / 'videos')
    shutil.copy(lists / 'classes.txt', data)
    for split in ('train', 'val', 'test'):
        lines = (lists / f'{split}.txt').read_text().splitlines()
        (data / f'{split}.txt').write_text('\n'.join(lines[:-1]))
    trained = together(
        folder, ROOT / 'tools/dist_train.sh', 'configs/lcr_motion.py', 2,
        '--data-root', data, '--work-dir', 'odd_work', '--cfg-options',
        'train_cfg.max_epochs=1', 'train_dataloader.batch_size=5',
        'val_dataloader.batch_size=4', 'default_hooks.checkpoint.interval=1')
    assert trained.returncode == 0, trained.stderr[-3000:]
    tested = together(
        folder, ROOT / 'tools/dist_test.sh', 'configs/lcr_motion.py',
        'odd_work/epoch_1.pth', 2, '--data-root', data, '--work-dir',
        'odd_test', '--dump', 'odd.pkl')
    assert tested.returncode == 0, tested.stderr[-3000:]
    assert len(read_dump(str(folder / 'odd.pkl'))) == 11


def test_a_process_that_dies_ends_the_run(folder: Path) -> None:
    start = time.monotonic()
    result = together(
        folder, HERE / 'kill_at.py', 'configs/lcr_motion.py', '--launcher',
        'pytorch', '--work-dir', 'dead', '--cfg-options',
        'train_dataloader.batch_size=4', KILL_AT='iteration:4', KILL_RANK='1')
    assert result.returncode
    assert 'Signal 9 (SIGKILL)' in result.stderr
    assert time.monotonic() - start < 60


def test_slurm_is_asked_as_in_mmaction(tmp_path: Path) -> None:
    """Check the arguments of srun; there is no Slurm here."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    output = subprocess.run(
        [ROOT / 'tools/slurm_train.sh', 'gpu', 'lcr', 'configs/lcr_k400.py',
         '--amp'], text=True, capture_output=True, check=True,
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}',
             'GPUS': '16', 'PYTHON': 'python'}).stdout
    for word in ('-p gpu', '--job-name=lcr', '--gres=gpu:8', '--ntasks=16',
                 'train.py configs/lcr_k400.py --launcher slurm --amp'):
        assert word in output
    for name in ('dist_train', 'dist_test', 'slurm_train'):
        result = subprocess.run([ROOT / f'tools/{name}.sh'], text=True,
                                capture_output=True)
        assert result.returncode == 2 and f'{name}.sh' in result.stderr
