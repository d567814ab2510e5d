# Copyright (c) The mmlcr authors. All rights reserved.
"""The command-line tools, run as their users run them, on tiny data."""
import csv
import faulthandler
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from processes import run_script
from safetensors.torch import save_file

from mmaction.apis import init_recognizer
from mmlcr.cli import publish, scan, visualize
from mmlcr.cli.motion import render
from mmlcr.engine import (
    cpu_has_bfloat16,
    loading,
    names_in,
    read_checkpoint,
)
from mmlcr.streaming import StreamResult
from mmlcr_cli import parse

# of scores in bfloat16, relative, in norm: what this project promises
BFLOAT16_TOLERANCE = 2e-2

ROOT = Path(__file__).resolve().parents[1]
# one worker of xdist runs what shares a trained checkpoint
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('tools')]


def run(*command: object, cwd: Path, ok: bool = True) -> str:
    """Run a tool in a folder of its own; what it printed."""
    result = run_script(
        f'{ROOT}/tools/{command[0]}', *command[1:], cwd=cwd, together=True)
    assert (result.returncode == 0) == ok, result.stdout
    return result.stdout


def weights(path: Path) -> dict:
    return torch.load(path, map_location='cpu')['state_dict']


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the clone with a tiny motion set and a training."""
    folder = tmp_path_factory.mktemp('root')
    run('make_motion.py', '--clips', 2, 1, 1, cwd=folder)
    run('train.py', 'configs/lcr_motion.py', '--seed', 0, '--work-dir', 'work',
        '--cfg-options', 'train_cfg.max_epochs=2', cwd=folder)
    return folder


@pytest.fixture
def best(root: Path) -> Path:
    return next((root / 'work').glob('best_acc_top1_epoch_*.pth'))


def test_motion_set_is_disjoint_seeded_and_not_rendered_twice(
        root: Path, tmp_path: Path) -> None:
    lists = {
        split: (root / f'data/motion/{split}.txt').read_text().split('\n')
        for split in ('train', 'val', 'test')
    }
    classes = (root / 'data/motion/classes.txt').read_text().split()
    assert len(classes) == 12
    assert [len(v) - 1 for v in lists.values()] == [24, 12, 12]
    first = root / 'data/motion/videos'
    stamps = {p: p.stat().st_mtime_ns for p in first.rglob('*.mp4')}
    assert 'already rendered' in run(
        'make_motion.py', '--clips', 2, 1, 1, cwd=root)
    assert stamps == {p: p.stat().st_mtime_ns for p in first.rglob('*.mp4')}
    run('make_motion.py', '--clips', 1, 1, 1, '--out', 'again', cwd=tmp_path)
    name = 'val/left_0000.mp4'
    again = (tmp_path / 'again/videos' / name).read_bytes()
    assert again == (first / name).read_bytes()
    pictures = {frame_of(path).tobytes() for path in first.rglob('*.mp4')}
    assert len(pictures) == 48  # no two clips look alike


def frame_of(path: Path) -> np.ndarray:
    there, frame = cv2.VideoCapture(str(path)).read()
    assert there
    return frame


@pytest.mark.parametrize('motion, direction', [
    ('left', (-1, 0)), ('right', (1, 0)), ('up', (0, -1)), ('down', (0, 1)),
    ('up_left', (-1, -1)), ('down_right', (1, 1)), ('still', (0, 0))
])
def test_motions_move_as_they_are_called(motion: str,
                                         direction: tuple) -> None:
    frames = render(motion, np.random.default_rng(3), 64, 60)
    frames = frames.astype(float).sum(-1)
    shape = np.abs(frames - np.median(frames, axis=0))
    assert (shape.max() > 100) == (motion != 'still')
    if motion == 'still':
        return
    # a torus has no centre: the root is the phase of the first harmonic
    for axis, sign in zip((2, 1), direction):
        profile = shape[:9].sum(axis=3 - axis)
        phase = np.unwrap(np.angle(np.fft.fft(profile, axis=1)[:, 1]))
        moved = (phase[0] - phase[-1]) * 64 / (2 * np.pi)  # pixels in 8 steps
        if sign:
            assert 6 < sign * moved < 26
        else:
            assert abs(moved) < 3


def test_train_writes_what_the_config_says(root: Path, best: Path) -> None:
    config = Config.fromfile(root / 'work/lcr_motion.py')
    assert config.train_cfg.max_epochs == 2
    assert config.randomness.seed == 0
    checkpoint = torch.load(best, map_location='cpu')  # weights_only
    assert len(checkpoint['meta']['dataset_meta']['classes']) == 12
    assert all(w.isfinite().all() for w in checkpoint['state_dict'].values())


@pytest.mark.long
def test_same_seed_same_weights(root: Path) -> None:
    for name in ('a', 'b'):
        run('train.py', 'configs/lcr_motion.py', '--seed', 5, '--work-dir',
            name, '--no-validate', '--cfg-options', 'train_cfg.max_epochs=1',
            'default_hooks.checkpoint.interval=1', cwd=root)
    first, second = (weights(root / f'{n}/epoch_1.pth') for n in 'ab')
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_resume_goes_on(root: Path) -> None:
    output = run(
        'train.py', 'configs/lcr_motion.py', '--seed', 0, '--work-dir',
        'work', '--resume', '--cfg-options', 'train_cfg.max_epochs=4',
        cwd=root)
    assert 'resumed epoch: 2' in output
    assert (root / 'work/epoch_4.pth').exists()


def test_amp_and_auto_scale_lr(root: Path) -> None:
    output = run(
        'train.py', 'configs/lcr_motion.py', '--amp', '--auto-scale-lr',
        '--no-validate', '--work-dir', 'amp', '--cfg-options',
        'train_cfg.max_epochs=1', 'train_dataloader.batch_size=8',
        cwd=root)
    assert ('CPUAmpOptimWrapper' in output) is cpu_has_bfloat16()
    assert ('--amp: this processor' in output) is not cpu_has_bfloat16()
    assert 'Scaling the original LR by 0.5' in output
    assert 'nan' not in output


def test_test_reports_and_dumps(root: Path, best: Path) -> None:
    output = run(
        'test.py', 'configs/lcr_motion.py', best, '--work-dir', 'test',
        '--dump', 'out.pkl', cwd=root)
    assert 'acc/top1' in output
    with open(root / 'out.pkl', 'rb') as file:
        predictions = pickle.load(file)
    assert len(predictions) == 12
    right = [
        p['pred_score'].argmax().item() == p['gt_label'].item()
        for p in predictions
    ]
    report = next((root / 'test').rglob('[0-9]*.json'))
    top1 = json.loads(report.read_text())['acc/top1']
    assert top1 == pytest.approx(np.mean(right))


@pytest.mark.long
@pytest.mark.skipif(not cpu_has_bfloat16(), reason='needs a CPU with bfloat16')
def test_bfloat16_gives_the_scores(root: Path, best: Path) -> None:
    scores = []
    for name, options in (
        ('exact', []),
        ('rounded', ['--cfg-options', 'test_cfg.fp16=True'])):
        run('test.py', 'configs/lcr_motion.py', best, '--work-dir', name,
            '--dump', f'{name}.pkl', *options, cwd=root)
        with open(root / f'{name}.pkl', 'rb') as file:
            scores.append(
                torch.stack([p['pred_score'] for p in pickle.load(file)]))
    error = (scores[1] - scores[0]).norm() / scores[0].norm()
    assert 0 < error < BFLOAT16_TOLERANCE


@pytest.mark.long
def test_mmengines_compile_key(root: Path) -> None:
    """Which compiles ``train_step``; without code generation, to be quick."""
    output = run(
        'train.py', 'configs/lcr_motion.py', '--no-validate', '--work-dir',
        'compiled', '--cfg-options', 'compile.backend=eager',
        'train_cfg.max_epochs=1', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', cwd=root)
    assert 'Model has been "compiled"' in output
    assert all(weight.isfinite().all()
               for weight in weights(root / 'compiled/epoch_1.pth').values())


@pytest.mark.long
def test_two_processes_by_gloo(root: Path) -> None:
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    result = subprocess.run(
        [
            sys.executable, '-m', 'torch.distributed.run', '--standalone',
            '--nproc_per_node', '2', ROOT / 'tools/train.py',
            'configs/lcr_motion.py', '--launcher', 'pytorch', '--work-dir',
            'gloo', '--cfg-options', 'train_cfg.max_epochs=2',
            'train_dataloader.batch_size=8'
        ],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment)
    assert result.returncode == 0, result.stdout
    assert (root / 'gloo/epoch_2.pth').exists()


def test_visualize_classifies_and_draws(root: Path, best: Path) -> None:
    video = 'data/motion/videos/test/left_0000.mp4'
    start = 'visualize.py', 'configs/lcr_motion.py', best
    output = run(*start, video, '--out', 'v/a.png', '--video', 'v/a.mp4',
                 '--cam', 'left', '--layer', 1, cwd=root)
    lines = [line for line in output.split('\n') if line[:2] in ('0.', '1.')]
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    classes = (root / 'data/motion/classes.txt').read_text().split()
    assert lines[0].split()[1] in classes
    run('stream.py', 'configs/lcr_motion.py', best, video, '--out',
        'v/a.jsonl', '--topk', 12, cwd=root)
    stream = read_lines((root / 'v/a.jsonl').read_text())
    name = lines[0].split()[1]
    of_stream = [dict(zip(line['labels'], line['scores']))[name]
                 for line in stream if line['is_full']]
    assert scores[0] == pytest.approx(np.mean(of_stream), abs=1e-3)
    capture = cv2.VideoCapture(str(root / 'v/a.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8
    picture = cv2.imread(str(root / 'v/a.png'))
    assert picture.std() > 10
    run(*start, video, '--out', 'v/b.png', '--rows', 'frame', 'tube',
        '--columns', 4, cwd=root)
    smaller = cv2.imread(str(root / 'v/b.png'))
    assert (np.array(smaller.shape) < picture.shape)[:2].all()


def test_visualize_takes_folders_and_few_frames(root: Path,
                                                best: Path) -> None:
    """Of a folder without a rate, all; numbered."""
    folder = root / 'images'
    folder.mkdir()
    for number in range(12):
        picture = np.random.randint(0, 256, (50, 70, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), picture)
    shown = run('visualize.py', 'configs/lcr_motion.py', best, folder,
               '--frames', 10, '--out', 'v/c.png', cwd=root)
    assert 'only the first 10 frames are used' in shown
    assert cv2.imread(str(root / 'v/c.png')).std() > 10


@pytest.mark.parametrize('arguments, message', [
    (('no.mp4', ), 'no.mp4: there is no such video'),
    # found before the source is opened
    (('no.mp4', '--out', 'a.png', '--cam', 'none'), '--cam none: no class of'),
    (('no.mp4', '--out', 'a.png', '--layer', '2'), '--layer 2: there are 0 '),
    (('no.mp4', '--video', 'a.gif'), 'a video is .avi or .mp4'),
    (('LEFT', '--columns', '0'), '--columns: must be positive'),
    (('LEFT', '--out', 'a.png', '--rows', 'tube', '--cfg-options',
      'train_pipeline=None'),
     'no TubeMask'),
], ids=['video', 'class', 'layer', 'suffix', 'columns', 'mask'])
def test_what_can_not_be_drawn_is_said(arguments: tuple, message: str,
                                       root: Path, best: Path) -> None:
    words = {'LEFT': 'data/motion/videos/test/left_0000.mp4'}
    shown = run('visualize.py', 'configs/lcr_motion.py', best,
               *(words.get(word, word) for word in arguments), cwd=root,
               ok=False)
    assert message in shown and 'Traceback' not in shown


def test_frames_of_a_source_are_not_kept() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    stream = (StreamResult(number, None, (), (), True, np.ones(2), image=image)
              for number in range(9))
    found = visualize.take(stream, 3)
    assert [result.frame for result in found] == [0, 1, 2]
    assert [result.image is None for result in found] == [False, True, True]


@pytest.mark.parametrize('rows, expected', [
    (None, ['frame', 'edges', 'tube']), (['tube'], ['tube']),
    (['frame', 'cell'], '--rows cell: an ONNX graph does not output')
], ids=['default', 'known', 'unknown'])
def test_rows_of_an_onnx_graph(rows: Any, expected: Any) -> None:
    arguments = (SimpleNamespace(rows=rows), SimpleNamespace(run_step=None),
             Config.fromfile(ROOT / 'configs/lcr_motion.py'))
    if isinstance(expected, list):
        assert visualize.find_rows(*arguments) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            visualize.find_rows(*arguments)


@pytest.mark.parametrize('frames, starts', [
    (8, [0] * 8), (3, [0] * 3), (19, [0] * 8 + [8] * 8 + [11] * 3)
], ids=str)
def test_grad_cam_is_of_whole_clips(frames: int, starts: List[int],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Each relative to its highest; one that speaks for nothing stays so."""
    step = object.__new__(visualize.TorchStep)
    monkeypatch.setattr(
        step, 'grad_cam',
        lambda clip, target, layer: clip[0, 3, :, None].float().numpy())
    maps = [visualize.Maps(np.zeros((2, 2, 3), np.uint8),
                           np.full((2, 2), 10 * t, np.uint8))
            for t in range(frames)]
    found = visualize.evidence(
        SimpleNamespace(run_step=step, clip_len=8), maps, 0, None)
    highest = [min(start + 7, frames - 1) for start in starts]
    expected = np.arange(frames) / highest
    np.testing.assert_allclose(found[:, 1, 1], expected, rtol=1e-6)
    black = [m._replace(edges=0 * m.edges) for m in maps]
    assert not visualize.evidence(
        SimpleNamespace(run_step=step, clip_len=8), black, 0, None).any()


def test_analyze_tells_of_training_and_test(root: Path, best: Path) -> None:
    shown = run('analyze.py', 'curves', 'work', '--out', 'an/curves.png',
               cwd=root)
    assert 'work: loss ' in shown and 'work: acc/top1 ' in shown
    run('test.py', 'configs/lcr_motion.py', best, '--work-dir', 'test',
        '--dump', 'an/out.pkl', cwd=root)
    start = ('configs/lcr_motion.py', 'an/out.pkl')
    shown = run('analyze.py', 'confusion', *start, '--out', 'an/conf.png',
               cwd=root)
    report = max((root / 'test').rglob('[0-9]*.json'))
    top1 = json.loads(report.read_text())['acc/top1']
    assert f'{round(12 * top1)} of 12 clips right' in shown
    assert shown.count('taken for') == 12 - round(12 * top1)

    run('analyze.py', 'classes', *start, '--csv', 'an/a.csv', '--out',
        'an/classes.png', cwd=root)
    with open(root / 'an/a.csv', newline='') as file:
        rows = [*csv.DictReader(file)]
    names = (root / 'data/motion/classes.txt').read_text().split()
    assert {row['class'] for row in rows} == {*names}
    assert sum(int(row['right']) for row in rows) == round(12 * top1)
    accuracies = [float(row['accuracy']) for row in rows]
    assert accuracies == sorted(accuracies)

    shown = run('analyze.py', 'worst', *start, '--num', 3, '--out',
               'an/worst.png', cwd=root)
    found = [line.split() for line in shown.split('\n')
             if 'taken for' in line or 'recognized' in line]
    losses = [float(line[0]) for line in found]
    assert len(losses) == 3 and losses == sorted(losses, reverse=True)
    for line in found:  # the path that the list names, of that class
        assert f'test/{line[1].rstrip(",")}_0000.mp4' in line[-1]
        assert (root / line[-1]).exists()
    for name in ('curves', 'conf', 'classes', 'worst'):
        assert cv2.imread(str(root / f'an/{name}.png')).std() > 10

    refused = run('analyze.py', 'confusion', *start, '--cfg-options',
                  'model.cls_head.num_classes=11',
                  'test_dataloader.dataset.classes=None', cwd=root, ok=False)
    assert 'an/out.pkl, sample 0: 12 scores for 11 classes' in refused
    assert 'Traceback' not in refused


def test_several_labels_from_training_to_analysis(root: Path) -> None:
    name = 'configs/lcr_motion_multilabel.py'
    shown = run('train.py', name, '--work-dir', 'several', '--cfg-options',
               'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', cwd=root)
    assert 'acc/mean_average_precision' in shown
    best, = (root / 'several').glob('best_acc_mean_average_precision_*.pth')
    run('test.py', name, best, '--work-dir', 'several', '--dump',
        'several/out.pkl', cwd=root)
    report = max((root / 'several').rglob('[0-9]*.json'))
    precision = json.loads(report.read_text())['acc/mean_average_precision']
    shown = run('analyze.py', 'classes', name, 'several/out.pkl', '--csv',
               'several/a.csv', '--out', 'several/a.png', cwd=root)
    assert f'mean average precision: {100 * precision:.1f} %' in shown
    assert '3 clips  left' in shown and '1 clips  sway' in shown
    with open(root / 'several/a.csv', newline='') as file:
        rows = [*csv.DictReader(file)]
    assert np.mean([float(row['average_precision']) for row in rows]
                   ) == pytest.approx(precision)
    shown = run('analyze.py', 'worst', name, 'several/out.pkl', cwd=root)
    assert '  up, left' in shown.replace('left, up', 'up, left')
    assert '  none, ' in shown  # a clip without labels
    shown = run('analyze.py', 'confusion', name, 'several/out.pkl', cwd=root,
               ok=False)
    assert 'one label each, and these have several; "classes"' in shown
    shown = run('stream_accuracy.py', name, best, cwd=root, ok=False)
    assert 'the accuracy on streams needs clips with one label' in shown


@pytest.mark.parametrize('number', [0, -5])
@pytest.mark.parametrize('command', ['worst', 'confusion'])
def test_a_number_of_no_clips_is_refused(command: str, number: int,
                                         tmp_path: Path) -> None:
    refused = run('analyze.py', command, 'configs/lcr_motion.py', 'a.pkl',
                  '--num', number, cwd=tmp_path, ok=False)
    assert f'--num must be positive, got {number}' in refused


def test_scan_names_bad_clips(root: Path, tmp_path: Path) -> None:
    """Missing, empty, cut off, no video, too short; a decoder may crash."""
    videos = sorted((root / 'data/motion/videos/train').glob('*.mp4'))[:8]
    for video in videos:
        shutil.copy(video, tmp_path / video.name)
    cut, text, empty, missing = (tmp_path / v.name for v in videos[:4])
    cut.write_bytes(cut.read_bytes()[:-2000])
    text.write_text('no video')
    empty.write_bytes(b'')
    missing.unlink()
    data = tmp_path / 'data'
    data.mkdir()
    shutil.copy(root / 'data/motion/classes.txt', data)
    for split in ('train', 'val', 'test'):
        (data / f'{split}.txt').write_text(
            ''.join(f'../../{video.name} 0\n' for video in videos))
    (data / 'videos').mkdir()
    arguments = ('scan_clips.py', 'configs/lcr_motion.py', '--data-root',
                 data, '--splits', 'train')
    shown = run(*arguments, cwd=tmp_path, ok=False)
    assert '4 of 8 clips are bad: bad_clips.txt' in shown
    lines = (tmp_path / 'bad_clips.txt').read_text().splitlines()
    found = {line.split('\t')[0].split('/')[-1] for line in lines}
    assert found == {bad.name for bad in (cut, text, empty, missing)}
    run(*arguments, '--seconds', '0', cwd=tmp_path, ok=False)
    assert 'took more than 0 seconds' in (tmp_path / 'bad_clips.txt'
                                          ).read_text()


@pytest.mark.skipif(sys.platform != 'linux', reason='processes by fork')
def test_scan_outlives_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash is of one clip; all others are looked at."""

    def find_fault(dataset: list, number: int) -> None:
        if number in (2, 3):
            faulthandler.disable()  # pytest's would print all that is loaded
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 5:
            time.sleep(60)

    monkeypatch.setattr(scan, 'find_fault', find_fault)
    found = dict(scan.scan([0] * 9, 2, 2.))
    assert sorted(found) == list(range(9))
    crashed, slow = 'a decoder crashed, exit code -11', 'took more than 2 sec'
    assert found[2] == found[3] == crashed and found[5].startswith(slow)
    assert {n for n, reason in found.items() if reason} == {2, 3, 5}


@pytest.mark.parametrize('kind', ['.pth', '.safetensors'])
def test_published_weights_are_weights_alone(kind: str, root: Path,
                                             best: Path) -> None:
    """Loaded without this package, and by its tools, with their scores."""
    shown = run('publish_model.py', best, f'published/model{kind}', cwd=root)
    path = Path(shown.splitlines()[-1].split(':')[0])
    data = (root / path).read_bytes()
    assert path.stem.endswith(hashlib.sha256(data).hexdigest()[:8])
    load = 'import torch; torch.load(%r, weights_only=True)'
    if kind == '.safetensors':
        load = 'from safetensors.torch import load_file; load_file(%r)'
    subprocess.run(
        [sys.executable, '-c', load % str(root / path)], check=True)
    config = str(ROOT / 'configs/lcr_motion.py')
    models = [init_recognizer(Config.fromfile(config), str(weights), 'cpu')
              for weights in (best, root / path)]
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    names = (root / 'data/motion/classes.txt').read_text().split()
    for weights_path in (best, root / path):
        found = read_checkpoint(str(weights_path))
        assert names_in(found, '') == tuple(names)
    assert len(data) < best.stat().st_size


def test_what_can_not_be_published_is_named(root: Path) -> None:
    refused = run('publish_model.py', 'data/motion/classes.txt', 'a.pth',
                  cwd=root, ok=False)
    assert 'classes.txt can not be read' in refused
    assert 'Traceback' not in refused
    refused = run('publish_model.py', 'none.pth', 'a.pth', cwd=root, ok=False)
    assert 'there is no checkpoint none.pth' in refused
    assert 'Traceback' not in refused


def test_scan_opens_wrapped_data_sets(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\n')
    leaf = dict(type='ValidatedVideoDataset', pipeline=[],
                ann_file=str(tmp_path / 'list.txt'), num_classes=2)
    found = scan.build(dict(
        type='RepeatDataset', times=3, dataset=dict(
            type='ConcatDataset', datasets=[leaf, leaf])))
    assert [len(dataset) for dataset in found] == [2, 2]


def test_a_model_of_the_package_is_published(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, 'ZOO', str(tmp_path))
    save_file(dict(a=torch.ones(2)), str(tmp_path / 'small.safetensors'),
              dict(classes='["up", "down"]'))
    publish.main(parse('publish', ['mmlcr://small', str(tmp_path / 'a.pth')]))
    path, = tmp_path.glob('a-????????.pth')
    found = read_checkpoint(str(path))
    assert found['state_dict']['a'].tolist() == [1, 1]
    assert names_in(found, '') == ('up', 'down')


def test_stream_writes_lines_video_plot_and_state(root: Path,
                                                  best: Path) -> None:
    video = 'data/motion/videos/test/left_0000.mp4'
    start = 'stream.py', 'configs/lcr_motion.py', best
    shown = run(*start, video, '--out', 's/a.jsonl', '--video', 's/a.mp4',
               '--plot', 's/a.png', '--save-state', 'state.pth', cwd=root)
    assert '8 frames taken' in shown
    lines = read_lines((root / 's/a.jsonl').read_text())
    assert [line['frame'] for line in lines] == list(range(0, 16, 2))
    assert [line['is_full'] for line in lines] == [False] * 3 + [True] * 5
    assert lines[2]['seconds'] == pytest.approx(4 / 25)
    names = (root / 'data/motion/classes.txt').read_text().split()
    for line in lines:
        assert len({*line['labels']} & {*names}) == 5
        assert line['scores'] == sorted(line['scores'], reverse=True)
    capture = cv2.VideoCapture(str(root / 's/a.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert cv2.imread(str(root / 's/a.png')).std() > 10
    run(*start, video, '--video', 's/maps.mp4', '--maps', cwd=root)
    beside = cv2.VideoCapture(str(root / 's/maps.mp4'))
    width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    assert beside.get(cv2.CAP_PROP_FRAME_WIDTH) == 3 * width
    # on standard output nothing but lines; the state of that stream goes on
    result = subprocess.run(
        [sys.executable, ROOT / 'tools/stream.py', *start[1:], video,
         '--load-state', 'state.pth', '--topk', '1'],
        cwd=root, text=True, capture_output=True)
    further = read_lines(result.stdout)
    assert result.returncode == 0 and len(further) == 8
    assert all(line['is_full'] for line in further)


@pytest.mark.long
def test_a_step_is_exported_and_streams(root: Path, best: Path) -> None:
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    shown = run('export_onnx.py', 'configs/lcr_motion.py', best, 'x/step.onnx',
               cwd=root)
    errors = [float(line.split('differ by ')[1].split(',')[0])
              for line in shown.split('\n') if 'they differ by' in line]
    assert len(errors) == 2 and max(errors) < 1e-4
    scores = []
    for weights_ in (best, 'x/step.onnx'):
        run('stream.py', 'configs/lcr_motion.py', weights_,
            'data/motion/videos/test/left_0000.mp4', '--out', 'x/a.jsonl',
            cwd=root)
        scores.append([line['scores'] for line in
                       read_lines((root / 'x/a.jsonl').read_text())])
    np.testing.assert_allclose(*scores, 1e-4, 1e-5)
    run('export_onnx.py', 'configs/lcr_motion.py', best, 'x/int8.onnx',
        '--int8', '--steps', 4, cwd=root)
    sizes = [(root / f'x/{n}.onnx').stat().st_size for n in ('step', 'int8')]
    assert sizes[1] < sizes[0]


def test_accuracy_on_streams(root: Path, best: Path) -> None:
    shown = run('stream_accuracy.py', 'configs/lcr_motion.py', best,
               '--streams', 2, '--frames', 60, '--out', 'accuracy.json',
               cwd=root)
    figures = json.loads((root / 'accuracy.json').read_text())
    assert list(figures) == ['windowed', 'free', 'clip, sliding']
    for name, found in figures.items():
        assert 0 <= found['accuracy'] <= 100 and 0 <= found['never'] <= 1
        assert f"| {name} | {found['accuracy']:.1f} |" in shown


def read_lines(text: str) -> List[dict]:
    return [json.loads(line) for line in text.strip().split('\n')]


@pytest.mark.parametrize('arguments, message', [
    (('no.mp4', ), 'no.mp4: there is no such video'),
    (('data/motion/classes.txt', ), 'classes.txt: not a video'),
    (('LEFT', '--out', '/dev/full'), "No space left on device: '/dev/full'"),
    (('LEFT', '--video', 'a.gif'), 'a video is .avi or .mp4'),
    (('LEFT', '--load-state', 'BEST'), 'not the state of a stream'),
    (('LEFT', '--load-state', 'data/motion/classes.txt'),
     'classes.txt can not be read'),
    (('LEFT', '--fps', '0'), 'fps must be positive'),
    (('LEFT', '--show'), 'no screen'),
])
def test_what_a_stream_cannot_do_is_said(arguments: tuple, message: str,
                                         root: Path, best: Path,
                                         monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    for name in 'DISPLAY', 'WAYLAND_DISPLAY':
        monkeypatch.delenv(name, raising=False)
    words = {'LEFT': 'data/motion/videos/test/left_0000.mp4', 'BEST': best}
    shown = run('stream.py', 'configs/lcr_motion.py', best,
               *(words.get(word, word) for word in arguments), cwd=root,
               ok=False)
    assert message in shown and 'Traceback' not in shown


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_is_ended_closes_its_outputs(number: int, root: Path,
                                                   best: Path) -> None:
    """What was written before can be read."""
    out = root / f'ended_by_{number}'
    images = out / 'images'
    images.mkdir(parents=True)
    picture = np.random.randint(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(out / 'image.png'), picture)
    for index in range(10_000):  # so many that it can't be done before
        (images / f'{index}.png').symlink_to(out / 'image.png')
    process = subprocess.Popen(
        [sys.executable, ROOT / 'tools/stream.py', 'configs/lcr_motion.py',
         best, images, '--out', out / 'a.jsonl', '--video', out / 'a.mp4',
         '--plot', out / 'a.png'],
        cwd=root, text=True, stderr=subprocess.PIPE,
        env=dict(os.environ, OMP_NUM_THREADS='1'))
    lines = out / 'a.jsonl'
    for _ in range(600):
        time.sleep(0.1)
        if lines.exists() and lines.read_text().count('\n') > 9:
            break
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130 and 'stopped' in shown
    taken = len(read_lines(lines.read_text()))
    assert f'{taken} frames taken' in shown and 9 < taken < 10_000
    capture = cv2.VideoCapture(str(out / 'a.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == taken
    assert cv2.imread(str(out / 'a.png')).std() > 10


def test_show_is_refused_with_the_way_out(root: Path, best: Path) -> None:
    output = run('test.py', 'configs/lcr_motion.py', best, '--show-dir', 'x',
                 cwd=root, ok=False)
    assert 'mmlcr visualize' in output


def test_get_flops_of_jester(tmp_path: Path) -> None:
    output = run('get_flops.py', 'configs/lcr_jester.py', cwd=tmp_path)
    numbers = [line.split() for line in output.strip().split('\n')[-2:]]
    assert float(numbers[0][1]) <= 5.4  # M parameters
    assert float(numbers[1][1]) <= 22  # G multiply-adds


@pytest.mark.long
def test_benchmark(tmp_path: Path) -> None:
    output = run(
        'benchmark.py', 'configs/lcr_motion.py', '--shape', 2, 16, 16,
        '--parts', 'operator', 'clip', 'step', 'stream', 'memory', '--others',
        'TSM-MobileNetV2', '--repeats', 1, '--threads', 1, '--out', 'out',
        cwd=tmp_path)
    report = (tmp_path / 'out/benchmark.md').read_text()
    assert report in output
    result = json.loads((tmp_path / 'out/benchmark.json').read_text())
    taken = result['milliseconds']
    assert all(value > 0 for value in taken.values())
    # the ratios that the table shows are those of the figures
    frame = taken['clip: LCR, one more frame']
    base = 'TSM-MobileNetV2, one more frame'
    ratio = frame / taken[f'clip: {base}']
    assert f'| {frame:.1f} | {ratio:.2f} | {base} |' in report
    rate = 2048**3 / taken['clip: matrix product']
    floor = result['multiply_adds'] / rate
    assert result['clip_over_floor'] == pytest.approx(taken['clip: LCR'] /
                                                      floor)
    assert 0 < result['frame_over_floor']
    assert 0 < result['bfloat16_error'] < 1
    assert len(result['stream']) == 8 and min(result['stream'].values()) > 0
    assert all(peak > 0 for peak in result['peak_mebibytes'].values())
    assert (tmp_path / 'out/growth.png').stat().st_size > 1000


@pytest.mark.long
def test_sweep_tabulates_and_repeats_nothing(root: Path) -> None:
    (root / 'plan.yml').write_text(
        'default:\nnone: [model.backbone.temporal_shift=False]\n')
    command = ('sweep.py', 'configs/lcr_motion.py', '--plan', 'plan.yml',
               '--work-dir', 'sweep', '--cfg-options',
               'train_cfg.max_epochs=1')
    output = run(*command, cwd=root)
    assert '| none |' in output and '| default |' in output
    stamp = (root / 'sweep/none_seed0/sweep.json').stat().st_mtime_ns
    assert run(*command, cwd=root).split('|')[1:] == output.split('|')[1:]
    again = (root / 'sweep/none_seed0/sweep.json').stat().st_mtime_ns
    assert again == stamp


def test_installed_copy_trains_outside_of_the_clone(root: Path,
                                                    tmp_path: Path) -> None:
    clone, site = tmp_path / 'clone', tmp_path / 'site'
    clone.mkdir()
    for name in ('mmlcr', 'configs', 'tools'):
        shutil.copytree(ROOT / name, clone / name)
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in',
                 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, clone)
    subprocess.run([
        sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
        '--no-build-isolation', '--target', site, clone
    ], check=True)
    shutil.rmtree(clone)
    shutil.copytree(root / 'data', tmp_path / 'data')

    def python(*command: object) -> str:
        result = subprocess.run([sys.executable, *map(str, command)],
                                cwd=tmp_path,
                                text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT,
                                env=dict(
                                    os.environ,
                                    OMP_NUM_THREADS='1',
                                    PYTHONPATH=str(site)))
        assert result.returncode == 0, result.stdout
        return result.stdout

    found = python(
        '-c', 'from mmlcr.engine import find_config as find; '
        'print(find("configs/lcr_motion.py"))')
    assert str(site / 'mmlcr/.mim/configs/lcr_motion.py') in found
    assert (site / 'mmlcr/.mim/model-index.yml').is_file()
    assert (site / 'mmlcr/zoo/lcr_motion.safetensors').is_file()
    # without kernels, which would be compiled there anew
    output = python(site / 'mmlcr/.mim/tools/train.py',
                    'configs/lcr_motion.py', '--cfg-options',
                    'train_cfg.max_epochs=2',
                    'model.backbone.backend=eager')
    assert f'{ROOT}/mmlcr' not in output and f'{ROOT}/tools' not in output
    assert (tmp_path / 'work_dirs/lcr_motion/epoch_2.pth').exists()
    # a config for one's own clips finds the measured one there, too
    for video in (root / 'data/motion/videos/test').glob('*.mp4'):
        folder = tmp_path / 'clips' / video.stem.split('_')[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, folder)
    python(site / 'mmlcr/.mim/tools/prepare_dataset.py', 'clips', '--out',
           'mine')
    output = python('-c', 'import mmlcr; from mmengine import Config; '
                    'print(Config.fromfile("mine/lcr_mine.py").model)')
    assert "type': 'LCRRecognizer'" in output


def test_unknown_config_is_named(tmp_path: Path) -> None:
    output = run('train.py', 'configs/none.py', cwd=tmp_path, ok=False)
    assert 'there is no config configs/none.py' in output


def test_bad_clip_in_mid_training_names_its_path(root: Path,
                                                 tmp_path: Path) -> None:
    broken = root / 'broken'
    (broken / 'videos').mkdir(parents=True)
    source = root / 'data/motion'
    for path in (source / 'videos/train').glob('*.mp4'):
        data = path.read_bytes()
        if path.name == 'up_0001.mp4':
            data = data[:len(data) // 2]
        (broken / 'videos' / path.name).write_bytes(data)
    shutil.copy(source / 'classes.txt', broken)
    lines = (source / 'train.txt').read_text().replace('train/', '')
    for split in ('train', 'val', 'test'):
        (broken / f'{split}.txt').write_text(lines)
    output = run(
        'train.py', 'configs/lcr_motion.py', '--data-root', 'broken',
        '--work-dir', 'never', '--cfg-options',
        'train_dataloader.dataset.open_files=False', 'train_cfg.max_epochs=1',
        cwd=root, ok=False)
    assert 'up_0001.mp4' in output
    before = run(  # and before it starts, where the clips are opened
        'train.py', 'configs/lcr_motion.py', '--data-root', 'broken',
        '--work-dir', 'never', cwd=root, ok=False)
    assert 'up_0001.mp4' in before and 'Epoch(train)' not in before


def test_inference_apis_on_real_clips(best: Path, shared_data: Path) -> None:
    from mmaction.apis import (
        MMAction2Inferencer,
        inference_recognizer,
        init_recognizer,
    )
    config = str(ROOT / 'configs/lcr_motion.py')
    model = init_recognizer(config, str(best), device='cpu')
    inferencer = MMAction2Inferencer(config, str(best), device='cpu')
    clips = [p for p in (shared_data / 'clips').iterdir() if p.suffix != '.md']
    assert len(clips) == 4
    scores = []
    for clip in sorted(clips):
        result = inference_recognizer(model, str(clip))
        assert result.pred_score.sum().item() == pytest.approx(1, abs=1e-4)
        answer = inferencer(str(clip))['predictions'][0]
        same = torch.tensor(answer['rec_scores'][0])
        assert torch.allclose(same, result.pred_score, atol=1e-5)
        scores.append(same)
    distinct = torch.cdist(torch.stack(scores), torch.stack(scores))
    assert (distinct[~torch.eye(4, dtype=torch.bool)] > 0).all()
