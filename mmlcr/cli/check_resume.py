# Copyright (c) The mmlcr authors. All rights reserved.
"""Kill and resume a training, and compare it with an undisturbed one."""
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
from rich.console import Console
from rich.progress import Progress
from torch.utils._pytree import tree_flatten

COMPARED = 'state_dict', 'optimizer', 'param_schedulers'


def start(args: argparse.Namespace, work_dir: str) -> subprocess.Popen:
    """Start a training, or resume the one in the work dir."""
    options = ['--cfg-options', *args.cfg_options] * bool(args.cfg_options)
    log = open(f'{work_dir}.log', 'a')
    return subprocess.Popen(
        [sys.executable, '-m', 'mmlcr_cli', 'train', args.config, '--seed',
         str(args.seed), '--resume', '--work-dir', work_dir, *options],
        stdout=log, stderr=log)


def finish(args: argparse.Namespace, work_dir: str) -> None:
    """Train to the end.

    Raises:
        SystemExit: If the training fails.
    """
    if start(args, work_dir).wait():
        raise SystemExit(f'the training failed: {work_dir}.log')


def kill(training: subprocess.Popen, seconds: float, work_dir: str,
         in_a_write: bool) -> str:
    """Wait, then kill the training.

    Returns:
        str: Whether it was writing a checkpoint; empty if it had ended.
    """
    time.sleep(seconds)
    while in_a_write and training.poll() is None:
        if any(name.endswith('.part') for name in os.listdir(work_dir)):
            break
    if training.poll() is not None:
        return ''
    training.kill()
    training.wait()
    found = glob(osp.join(work_dir, '*.part'))
    return 'in a write' if found else 'elsewhere'


def last_checkpoint(work_dir: str) -> Any:
    """Load the latest checkpoint of a work dir."""
    with open(osp.join(work_dir, 'last_checkpoint')) as file:
        return torch.load(file.read(), weights_only=True)


def differences(found: Any, expected: Any) -> List[str]:
    """Return the parts of two checkpoints that are not equal bit for bit."""
    wrong = []
    for name in COMPARED:
        a, b = tree_flatten(found[name]), tree_flatten(expected[name])
        same = a[1] == b[1] and all(
            torch.equal(x, y) if isinstance(y, torch.Tensor) else
            x == y or callable(y) for x, y in zip(a[0], b[0]))
        if not same:
            wrong.append(name)
    return wrong


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    if osp.exists(args.work_dir):
        raise SystemExit(f'{args.work_dir} is there already')
    whole = osp.join(args.work_dir, 'whole')
    os.makedirs(whole)
    begin = time.monotonic()
    finish(args, whole)
    duration = time.monotonic() - begin
    expected = last_checkpoint(whole)
    random.seed(args.seed)
    moments: List[str] = []
    wrong: List[str] = []
    trainings = 0
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task('kills', total=args.kills)
        while len(moments) < args.kills:
            trainings += 1
            killed = osp.join(args.work_dir, f'killed_{trainings}')
            os.makedirs(killed)
            while len(moments) < args.kills:
                for left in glob(osp.join(killed, '*.part')):
                    os.remove(left)  # by the previous kill
                moment = kill(
                    start(args, killed), random.uniform(0, duration / 2),
                    killed, len(moments) % 2 == 1)
                if not moment:
                    break
                moments.append(moment)
                progress.update(task, completed=len(moments))
            finish(args, killed)
            wrong += differences(last_checkpoint(killed), expected)
    for kind in sorted(set(moments)):
        print(f'{moments.count(kind)} kills {kind}')
    print(f'{trainings} training(s), killed and resumed: ' + (
        'not the same ' + ', '.join(wrong) if wrong else
        'the same weights, optimizer and schedule, bit for bit'))
    return bool(wrong)
