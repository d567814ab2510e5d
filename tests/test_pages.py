# Copyright (c) The mmlcr authors. All rights reserved.
"""Commands and code of README and pages, run in their order on tiny data."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import cv2
import numpy as np
import pytest
from pages import blocks

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, ACTIONS = ('daria', 'ido', 'lyova'), ('bend', 'jump')
CLIP = 'data/motion/videos/test/clockwise_0000.mp4'
# what is not run here, and why
LEFT_OUT = {
    r'^(pip|make) |^\.venv/': 'needs a network, or runs all tests',
    r'^mmlcr page ': 'serves until it is stopped; tests/test_webapp.py',
    r'^mmlcr benchmark ': 'takes minutes; tests/test_tools.py',
    r'^mmlcr convert |lcr_(k400|ssv2|jester)|prepare-public':
        'needs large data; tests/test_prepare_public.py, test_configs.py',
    r'^tools/dist_train.sh': 'needs eight GPUs; tests/test_tools.py',
    r'lcr_people\.py': 'takes hours; tests/test_configs.py',
    r'--plan|num_layers=8|INNER_CHECKPOINT|FOLDER|RUN': 'takes hours',
}
# what makes a command short, or fills in its placeholders
CHANGES = (
    (r'^mmlcr motion( --out data/motion)?$', 'mmlcr motion --clips 2 1 1'),
    (r'--folds 0 1 2', '--folds 0'),
    (r'--seeds 0 1 2', '--seeds 0'),
    (r'--groups( \d)+', '--groups 1'),
    (r'--steps( \d+)+', '--steps 1'),
    (r'--kills 20', '--kills 1'),
    (r'--programs \d+', '--programs 2'),
    (r'last_checkpoint\)" 0$', f'last_checkpoint)" {CLIP}'),
    (r'CHECKPOINT', 'mmlcr://lcr_motion'),
    (r'VIDEO', CLIP),
    (r'CONFIG', 'configs/lcr_motion.py'),
)
ONE_EPOCH = ('train_cfg.max_epochs=1 train_cfg.val_interval=1 '
             'default_hooks.checkpoint.interval=1')


class Page(NamedTuple):
    """A page and what its commands start from."""
    name: str
    given: Tuple[str, ...] = ()  # commands


TESTED = 'mmlcr test configs/lcr_motion.py mmlcr://lcr_motion --dump test.pkl'
PREPARED = ("mmlcr prepare clips --group-pattern '/([a-z]+)_' --folds 3 "
            '--out data/weizmann')
PAGES = [
    Page('README.md'),
    Page('docs/deploy.md', ('mkdir -p work_dirs/lcr_motion', )),
    Page('docs/features.md'),
    Page('docs/lists.md'),
    Page('docs/people.md', (PREPARED, )),
    Page('docs/reliability.md'),
    Page('docs/results.md', (PREPARED, )),
    Page('docs/segments.md', (PREPARED, )),
    Page('docs/streaming.md'),
    Page('docs/train.md'),
    Page('docs/visualization.md', (TESTED, )),
    Page('docs/your_clips.md'),
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few clips, and nothing else."""
    path = tmp_path_factory.mktemp('user')
    rng = np.random.default_rng(0)
    for action in ACTIONS:
        (path / 'clips' / action).mkdir(parents=True)
        for person in PEOPLE:
            writer = cv2.VideoWriter(
                str(path / f'clips/{action}/{person}_{action}.avi'),
                cv2.VideoWriter_fourcc(*'MJPG'), 25., (80, 64))
            for frame in rng.integers(0, 255, (30, 64, 80, 3), np.uint8):
                writer.write(frame)
            writer.release()
    return path


def run(command: str, folder: Path) -> str:
    """Run a command in a shell; return what it printed."""
    bin_folder = os.path.dirname(sys.executable)
    environment: Dict[str, str] = dict(
        os.environ, OMP_NUM_THREADS='1', LCR_NUM_CLASSES='2',
        PATH=f'{bin_folder}{os.pathsep}{os.environ["PATH"]}')
    if 'weizmann' not in command:
        del environment['LCR_NUM_CLASSES']
    result = subprocess.run(
        command, shell=True, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f'{command}\n{result.stdout}'
    return result.stdout


def commands(page: str) -> List[str]:
    """Return the commands of a page, each as it is run here."""
    text = ''.join(blocks(ROOT / page, 'shell')).replace('\\\n', ' ')
    found = []
    for line in text.splitlines():
        command = ' '.join(line.partition(' #')[0].split())
        if not command or any(
                re.search(pattern, command) for pattern in LEFT_OUT):
            continue
        for pattern, replacement in CHANGES:
            command = re.sub(pattern, replacement, command)
        if re.match(r'mmlcr (train|sweep) ', command):
            command += '' if '--cfg-options' in command else ' --cfg-options'
            command += f' {ONE_EPOCH}'
        found.append(re.sub(r'epoch_\d+\.pth', 'epoch_1.pth', command))
    return found


@pytest.mark.slow
@pytest.mark.parametrize('page', [
    pytest.param(page, id=page.name,
                 marks=[pytest.mark.long] * (page.name != 'README.md'))
    for page in PAGES])
def test_commands_do_what_the_page_says(page: Page, folder: Path) -> None:
    output = ''
    for command in ('mmlcr motion --clips 2 1 1', *page.given,
                    *commands(page.name)):
        output += run(command, folder)
    for block in blocks(ROOT / page.name, 'text'):
        for line in block.splitlines():
            if line.startswith('{"frame"'):  # the same fields
                found = [json.loads(text) for text in output.splitlines()
                         if text.startswith('{"frame"')]
                assert [*found[-1]] == [*json.loads(line)]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize('page', ['README.md', 'docs/streaming.md',
                                  'docs/train.md'])
def test_code_does_what_the_page_says(page: str, folder: Path) -> None:
    run('mmlcr motion --clips 2 1 1', folder)
    for code in blocks(ROOT / page, 'python'):
        for pattern, replacement in (
                ('stream.stream(0)', f'stream.stream("{CLIP}")'),
                ('CHECKPOINT', 'mmlcr://lcr_motion'), ('VIDEO', CLIP)):
            code = code.replace(pattern, replacement)
        (folder / 'page.py').write_text(code)
        assert run(f'{sys.executable} page.py', folder).strip()


@pytest.mark.slow
@pytest.mark.long
def test_names_travel_in_what_the_guide_publishes(folder: Path) -> None:
    page = 'docs/your_clips.md'
    for command in commands(page):
        if not command.startswith('mmlcr curve '):
            run(command, folder)
    published = next(folder.glob('lcr_mine-*.pth'))
    code, = blocks(ROOT / page, 'python')
    code = code.replace('CHECKPOINT', published.name)
    code = code.replace('VIDEO', 'data/mine/videos/bend/daria_bend.avi')
    (folder / 'data/mine/classes.txt').unlink()
    (folder / 'page.py').write_text(code)
    output = run(f'{sys.executable} page.py', folder)
    assert output.split('\n')[-2].split()[0] in ACTIONS
