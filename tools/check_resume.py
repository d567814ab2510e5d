# Copyright (c) The mmlcr authors. All rights reserved.
"""Kill a training again and again, and compare it with one that was not."""
import argparse
import os
import os.path as osp
import random
import subprocess
import sys
import time
from glob import glob
from typing import Any, List

import torch
from mmengine.utils import track_iter_progress
from torch.utils._pytree import tree_flatten

import mmlcr  # noqa: F401  lets torch load checkpoints

COMPARED = 'state_dict', 'optimizer', 'param_schedulers'
POLL = 0.002  # seconds between two looks at the folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train once, then once more with kills (SIGKILL) at '
        'random moments, every other one while a checkpoint is being '
        'written, and --resume after each. Ends with an error unless both '
        'end with the same weights and optimizer, bit for bit.')
    parser.add_argument('config', help='config file, of a training of minutes')
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', default='work_dirs/check_resume')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='of both trainings')
    return parser.parse_args()


def start(args: argparse.Namespace, work_dir: str) -> subprocess.Popen:
    """A training, from wherever it is."""
    options = ['--cfg-options', *args.cfg_options] * bool(args.cfg_options)
    log = open(f'{work_dir}.log', 'a')
    return subprocess.Popen(
        [sys.executable, osp.join(osp.dirname(__file__), 'train.py'),
         args.config, '--seed', str(args.seed), '--resume', '--work-dir',
         work_dir, *options],
        stdout=log, stderr=log)


def kill(training: subprocess.Popen, seconds: float, work_dir: str,
         in_a_write: bool) -> str:
    """Wait, then kill; returns when that was, or that it had ended."""
    time.sleep(seconds)
    while in_a_write and training.poll() is None:
        if glob(osp.join(work_dir, '*.part')):
            break
        time.sleep(POLL)
    if training.poll() is not None:
        return 'ended before'
    training.kill()
    training.wait()
    found = glob(osp.join(work_dir, '*.part'))
    return 'in a write' if found else 'elsewhere'


def last_checkpoint(work_dir: str) -> Any:
    with open(osp.join(work_dir, 'last_checkpoint')) as file:
        return torch.load(file.read(), weights_only=True)


def differences(found: Any, expected: Any) -> List[str]:
    """What of two checkpoints is not the same to the last bit."""
    wrong = []
    for name in COMPARED:
        a, b = tree_flatten(found[name]), tree_flatten(expected[name])
        same = a[1] == b[1] and all(
            torch.equal(x, y) if isinstance(y, torch.Tensor) else
            x == y or callable(y) for x, y in zip(a[0], b[0]))
        if not same:
            wrong.append(name)
    return wrong


def main() -> int:
    args = parse_args()
    whole, killed = (
        osp.join(args.work_dir, name) for name in ('whole', 'killed'))
    if osp.exists(args.work_dir):
        raise SystemExit(f'{args.work_dir} is there already')
    for folder in (whole, killed):
        os.makedirs(folder)
    begin = time.monotonic()
    if start(args, whole).wait():
        raise SystemExit(f'the training failed: {whole}.log')
    duration = time.monotonic() - begin
    random.seed(args.seed)
    moments = []
    for number in track_iter_progress(list(range(args.kills))):
        seconds = random.uniform(0, duration / 2)
        moments.append(
            kill(start(args, killed), seconds, killed, number % 2 == 1))
    if start(args, killed).wait():
        raise SystemExit(f'the training failed: {killed}.log')
    wrong = differences(last_checkpoint(killed), last_checkpoint(whole))
    for kind in sorted(set(moments)):
        print(f'{moments.count(kind)} kills {kind}')
    print('not the same: ' + ', '.join(wrong) if wrong else
          'the same weights, optimizer and schedule, bit for bit')
    return bool(wrong)


if __name__ == '__main__':
    sys.exit(main())
