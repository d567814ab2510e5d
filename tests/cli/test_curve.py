# Copyright (c) The mmlcr authors. All rights reserved.
"""Which runs make a curve, and what becomes of their accuracies."""
import argparse
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
import torch
from mmengine.config import Config
from processes import run_script

from mmaction.registry import MODELS
from mmlcr.cli import curve, sweep
from mmlcr.cli.curve_runs import (
    Point,
    Training,
    TrainList,
    choose_groups,
    epochs_and_iterations,
    plan,
)
from mmlcr.visualization.accuracy_plots import plot_accuracy
from mmlcr_cli import parse

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/lcr_weizmann.py'
PEOPLE = ['daria', 'denis', 'eli', 'ido', 'ira', 'lena']
PATTERN = ('--group-pattern', '/([a-z]+)_')


def arguments(*words: object) -> argparse.Namespace:
    return parse('curve', [str(word) for word in (CONFIG, *words)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with training lists of two folds, ten clips a person."""
    folder = tmp_path / 'data'
    folder.mkdir()
    for fold in range(2):
        (folder / f'fold{fold}_train.txt').write_text(''.join(
            f'action{label}/{person}_{label}.avi {label}\n'
            for label in range(10) for person in PEOPLE))
    return folder


def trainings_of(args: argparse.Namespace) -> List[Training]:
    """The runs for six people with ten clips each."""
    groups = [person for person in PEOPLE for _ in range(10)]
    lists = [
        TrainList(Config(), fold, [f'{n}.avi 0' for n in range(60)], groups,
                  15, False, 10) for fold in args.folds
    ]
    return plan(args, lists, curve.points_of(args))


# ---- the choice of groups, and the number of epochs


@pytest.mark.parametrize('total', [1, 2, 5, 6, 7, 20])
def test_more_groups_include_fewer(total: int) -> None:
    groups = [f'{number:02d}' for number in range(total)]
    for seed in range(-1, total + 2):
        chosen: List[str] = []
        for number in range(1, total + 1):
            more = choose_groups(groups[::-1] * 2, number, seed)
            assert {*chosen} < {*more} and len(more) == number
            chosen = more


@pytest.mark.parametrize('total', [1, 2, 5, 6, 7, 20])
def test_seeds_rotate_over_the_groups(total: int) -> None:
    groups = [f'{number:02d}' for number in range(total)]
    first = [choose_groups(groups, 1, seed)[0] for seed in range(total)]
    assert sorted(first) == groups
    assert choose_groups(groups, 1, total) == first[:1]
    third = total // 3
    if third:
        chosen = [choose_groups(groups, third, seed) for seed in range(3)]
        assert len({*sum(chosen, [])}) == 3 * third


def test_more_groups_than_there_are() -> None:
    with pytest.raises(ValueError, match='--groups 7: .* no more than 6 '):
        choose_groups(PEOPLE, 7, 0)


@pytest.mark.parametrize('clips, steps, drop_last, expected', [
    (60, 1600, False, (400, 4)), (10, 100, False, (100, 1)),
    (61, 100, False, (20, 5)), (61, 100, True, (25, 4)),
    (60, 101, False, (26, 4)), (60, 1, False, (1, 4))
])
def test_epochs_reach_the_steps(clips: int, steps: int, drop_last: bool,
                                expected: tuple) -> None:
    assert epochs_and_iterations(clips, steps, 15, drop_last) == expected


def test_less_than_a_batch() -> None:
    with pytest.raises(ValueError, match='10 clips are no batch of 15'):
        epochs_and_iterations(10, 1, 15, drop_last=True)


# ---- what is run


def test_a_curve_varies_one_thing() -> None:
    """--groups, --steps and --product."""
    words = ('--groups', 3, 1, 6, '--steps', 400, 100, *PATTERN, '--work-dir',
             'w')
    expected = [Point(1, 400), Point(3, 400), Point(6, 400), Point(None, 100),
                Point(None, 400)]
    args = arguments(*words)
    assert curve.points_of(args) == expected
    found = {(len(t.groups), t.steps) for t in trainings_of(args)}
    assert found == {(1, 400), (3, 400), (6, 400), (6, 100)}
    args = arguments(*words, '--product')
    found = {(len(t.groups), t.steps) for t in trainings_of(args)}
    assert found == {(n, s) for n in (1, 3, 6) for s in (100, 400)}


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> List[List[str]]:
    """Let every training succeed at once; the commands that were run."""
    commands: List[List[str]] = []

    def run(command: List[str], env: Dict[str, str], **kwargs: Any) -> Any:
        commands.append([*command, f'threads={env["OMP_NUM_THREADS"]}'])
        folder = Path(command[command.index('--work-dir') + 1])
        (folder / 'last_checkpoint').write_text(f'{folder}/epoch.pth')
        (folder / 'test').mkdir(exist_ok=True)
        (folder / 'test/1.json').write_text('{"acc/top1": 0.5}')
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(sweep.subprocess, 'run', run)
    return commands


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A checkpoint of the config's model."""
    backbone = MODELS.build(Config.fromfile(CONFIG).model.backbone)
    torch.save({f'backbone.{name}': tensor
                for name, tensor in backbone.state_dict().items()},
               tmp_path / 'start.pth')
    return tmp_path / 'start.pth'


def test_runs_of_a_curve(data: Path, start: Path, tmp_path: Path,
                         finished: List[List[str]],
                         capsys: pytest.CaptureFixture) -> None:
    """--group-pattern, --starts, --folds, --seeds, --jobs, --threads,
    --work-dir, --data-root and --cfg-options."""
    words = ('--groups', 2, '--steps', 10, *PATTERN, '--starts', 'scratch',
             f'people={start}', '--folds', 0, 1, '--seeds', 0, 1, '--jobs', 2,
             '--threads', 3, '--work-dir', tmp_path / 'w', '--data-root', data,
             '--cfg-options', 'model.cls_head.label_smooth_eps=0')
    curve.main(arguments(*words))
    assert len(finished) == 2 * 2 ** 4  # train and test, groups to seeds
    for command in finished:
        assert {'threads=3', 'model.cls_head.label_smooth_eps=0',
                str(data)} <= {*command}
        assert ('--no-validate' in command) == ('train' in command)
        assert ('start=None' in command) != (f'start={start}' in command)
    folder = tmp_path / 'w'
    for seed, people in enumerate((['daria', 'denis'], ['eli', 'ido'])):
        lines = (folder / f'lists/fold1_2groups_seed{seed}.txt').read_text()
        assert lines.splitlines() == [
            line for line in (data / 'fold1_train.txt').read_text().split('\n')
            if any(person in line for person in people)]
    output = capsys.readouterr().out
    assert output.strip().endswith((folder / 'table.md').read_text().strip())
    assert '| people | 50.0 ± 0.0 | 50.0 ± 0.0 |' in output
    results = json.loads((folder / 'results.json').read_text())
    assert results['chance'] == 10 and len(results['runs']) == 16
    assert (folder / 'curve.png').read_bytes()[1:4] == b'PNG'

    finished.clear()
    curve.main(arguments(*words))
    assert not finished
    assert capsys.readouterr().out.strip() == output[output.index('|'):].strip(
    )
    with pytest.raises(SystemExit, match='2groups_10steps_fold0_seed0 with '
                                         'other clips or settings'):
        curve.main(arguments(*words[:3], 10, '--group-pattern', '/([a-z])',
                             *words[6:]))


def test_the_first_failure_ends_the_command(
        data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep.subprocess, 'run', lambda *args, **kwargs:
                        argparse.Namespace(returncode=1))
    with pytest.raises(SystemExit, match=r'^RunError: \S+ failed, see '):
        curve.main(arguments('--groups', 1, '--steps', 2, *PATTERN,
                             '--work-dir', tmp_path, '--data-root', data))


# ---- wrong input


@pytest.mark.parametrize('words, message', [
    (['--groups', 7], 'ValueError: --groups 7: .* 6 groups'),
    (['--group-pattern', 'zzz'], "ValueError: the pattern 'zzz' is not found"),
    (['--group-pattern', '('], "ValueError: the pattern '\\('"),
    (['--folds', 9], 'ClipError: .*fold9_train.txt can not be read'),
    (['--starts', 'a=no.pth'], 'ValueError: start a: there is no checkpoint'),
    (['--starts', 'a=mmlcr://no'], 'ValueError: start a: there is no'),
    (['--starts', 'a=mmlcr://lcr_motion'], 'ValueError: start a: .*another'),
    (['--work-dir', 'a,b'], 'ValueError: --work-dir a,b: a path without'),
    (['--cfg-options', 'x=1'], 'OverrideError: x=1 changes nothing'),
    (['--cfg-options', 'train_dataloader.dataset.ann_file=None'],
     'ValueError: .*no list of training clips'),
])
def test_wrong_input_is_one_line(data: Path, words: List[Any], message: str,
                                 tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = arguments('--groups', 1, '--steps', 2, *PATTERN, '--work-dir', 'w',
                     '--data-root', data, *words)
    with pytest.raises(SystemExit, match=f'^{message}') as error:
        curve.main(args)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'w').exists()


def test_a_config_without_a_variable_for_epochs(
        data: Path, tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(
        f'_base_ = {str(CONFIG)!r}\nparam_scheduler = []\n'
        'train_cfg = dict(max_epochs=7)\n')
    args = arguments('--groups', 1, '--steps', 2, *PATTERN, '--work-dir',
                     tmp_path / 'w', '--data-root', data)
    args.config = str(tmp_path / 'mine.py')
    with pytest.raises(SystemExit, match='7 epochs with max_epochs=2'):
        curve.main(args)


# ---- what is shown


@pytest.fixture
def measured() -> Callable[..., Any]:
    """Runs of two starts with made-up accuracies, and their arguments."""

    def make(*words: object) -> Any:
        args = arguments('--groups', 1, 3, '--steps', 4, 401, *PATTERN,
                         '--work-dir', 'w', '--starts', 'scratch', 'a=b',
                         '--folds', 0, 1, '--seeds', 0, 1, *words)
        return args, [
            t._replace(top1=10. * len(t.groups) + t.run.fold +
                       3 * t.run.seed + 20 * (t.start == 'a') - (t.steps == 4))
            for t in trainings_of(args)
        ]

    return make


def test_table_of_given_results(measured: Callable) -> None:
    args, trainings = measured()
    assert curve.table(trainings, curve.points_of(args)) == '\n'.join([
        '| start | 1 group, 401 steps | 3 groups, 401 steps '
        '| all groups, 4 steps | all groups, 401 steps |',
        '| --- | --- | --- | --- | --- |',
        '| scratch | 12.0 ± 2.1 | 32.0 ± 2.1 | 61.0 ± 2.1 | 62.0 ± 2.1 |',
        '| a | 32.0 ± 2.1 | 52.0 ± 2.1 | 81.0 ± 2.1 | 82.0 ± 2.1 |', '',
        'Top-1 accuracy in per cent: mean of the runs ± deviation of the '
        'seeds.',
        'With 3 groups, 401 steps are 402: 201 epochs of 2.',
        'With 6 groups, 401 steps are 404: 101 epochs of 4.', ''
    ])


@pytest.mark.parametrize('words, labels', [
    ([], [['scratch', 'a'], ['scratch', 'a']]),
    (['--product'], [['scratch, 4 steps', 'scratch, 401 steps', 'a, 4 steps',
                      'a, 401 steps'],
                     ['scratch, 1 group', 'scratch, 3 groups', 'a, 1 group',
                      'a, 3 groups']])
], ids=['one thing', 'product'])
def test_plot_of_given_results(measured: Callable, words: List[str],
                               labels: List[List[str]],
                               fits: Callable) -> None:
    args, trainings = measured(*words)
    panels = [
        curve.panel(trainings, curve.curves_over_groups(args), 'groups',
                    'steps'),
        curve.panel(trainings, curve.curves_over_steps(args), 'steps',
                    'groups')
    ]
    figure = plot_accuracy(panels, 10.)
    assert fits(figure)
    assert [axes.get_xscale() for axes in figure.axes] == ['linear', 'log']
    for axes, names in zip(figure.axes, labels):
        shown = [text.get_text() for text in axes.get_legend().get_texts()]
        assert shown == [*names, 'chance, 10.0 %']
        runs = [line for line in axes.lines if line.get_alpha()]
        assert all(len(line.get_ydata()) == 4 for line in runs)
    line = figure.axes[0].lines[0]
    assert [*line.get_xdata()] == [1, 3]
    expected = [12, 32] if not words else [11, 31]
    assert [*line.get_ydata()] == pytest.approx(expected)


# ---- end to end


@pytest.mark.slow
@pytest.mark.long
def test_a_curve_of_trainings(tmp_path: Path) -> None:
    """Its runs end at the steps that it tells."""

    def run(tool: str, *words: object) -> str:
        result = run_script(ROOT / 'tools' / tool, *words, cwd=tmp_path,
                            together=True)
        assert result.returncode == 0, result.stdout
        return result.stdout

    run('make_motion.py', '--clips', 2, 1, 1)
    output = run('curve.py', 'configs/lcr_motion.py', '--groups', 1,
                 '--group-pattern', r'_(\d+)\.', '--steps', 6, 7,
                 '--starts', 'people=mmlcr://lcr_motion', '--work-dir', 'w')
    assert '| start | 1 group, 7 steps | all groups, 6 steps |' in output
    assert 'With 2 groups, 7 steps are 8: 4 epochs of 2.' in output
    runs = json.loads((tmp_path / 'w/results.json').read_text())['runs']
    assert [(r['groups'], r['exact_steps']) for r in runs] == [
        (['0000'], 7), (['0000', '0001'], 6), (['0000', '0001'], 8)]
    for r in runs:
        name = tmp_path / 'w' / r['folder'] / f'epoch_{r["epochs"]}.pth'
        assert torch.load(name)['meta']['iter'] == r['exact_steps']
        assert 0 <= r['top1'] <= 100
