# Copyright (c) The mmlcr authors. All rights reserved.
"""From a folder of clips to lists and a config."""
import csv
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest
from encode import encode_audio
from mmengine.config import Config

from mmaction.registry import DATASETS, TRANSFORMS
from mmlcr_cli import run as run_command

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 'dan', 'ann', 'cem', 'bea'


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run the tool; what it printed, or why it ended."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object, source: object = 'source', out: str = 'data/my'
            ) -> int:
        monkeypatch.setattr(sys, 'argv', ['tools/prepare_dataset.py'])
        with pytest.raises(SystemExit) as end:
            run_command('prepare', [str(source), '--out', out,
                                    *map(str, options)])
        if end.value.code:
            raise end.value
        return 0

    return run


@pytest.fixture
def refused(prepare: Callable) -> Callable:
    """The same; the message it ends with."""

    def run(*options: object, **others: Any) -> str:
        with pytest.raises(SystemExit) as error:
            prepare(*options, **others)
        return str(error.value)

    return run


@pytest.fixture
def people(tmp_path: Path, make_video: Callable) -> Path:
    """Three actions of four people, ``source/act0/dan_act0.mp4``."""
    for person in PEOPLE:
        for action in range(3):
            make_video(f'source/act{action}/{person}_act{action}.mp4',
                       num_frames=29, step=action, fps=25)
    return tmp_path / 'source'


@pytest.fixture
def table(people: Path) -> Path:
    """The same with a labels.csv."""
    rows = [['path', 'label', 'subject']]
    rows += [[f'act{action}/{person}_act{action}.mp4', f'act{action}', person]
             for person in PEOPLE for action in range(3)]
    with open(people / 'labels.csv', 'w', newline='') as file:
        csv.writer(file).writerows(rows)
    return people


def lines(path: str) -> List[str]:
    return Path(path).read_text().split('\n')[:-1]


def groups(path: str) -> set:
    return {Path(line).name.split('_')[0] for line in lines(path)}


PATTERN = '--group-pattern', '/([a-z]+)_'


@pytest.mark.parametrize('how', ['column', 'pattern'])
def test_folds_are_of_people_in_order(how: str, table: Path,
                                      prepare: Callable) -> None:
    if how == 'pattern':
        (table / 'labels.csv').unlink()
    options = PATTERN if how == 'pattern' else ('--group', 'subject')
    assert prepare('--folds', 2, *options) == 0
    assert groups('data/my/fold1_train.txt') == {'ann', 'bea'}
    assert groups('data/my/fold1_test.txt') == {'cem', 'dan'}
    assert 'act2/cem_act2.mp4 2' in lines('data/my/fold1_test.txt')
    inner = [lines(f'data/my/fold1_inner_{part}.txt')
             for part in ('train', 'val')]
    assert sorted(sum(inner, [])) == sorted(lines('data/my/fold1_train.txt'))
    assert groups('data/my/fold1_inner_val.txt') == {'ann'}
    assert len(lines('data/my/all.txt')) == 12
    assert lines('data/my/classes.txt') == ['act0', 'act1', 'act2']
    assert Path('data/my/videos').resolve() == table


def test_shares_are_of_people(people: Path, prepare: Callable,
                              capsys: pytest.CaptureFixture) -> None:
    prepare('--test-share', 0.25, '--val-share', 0.25, *PATTERN)
    sides = [groups(f'data/my/{part}.txt') for part in ('train', 'val',
                                                        'test')]
    assert [len(side) for side in sides] == [2, 1, 1]
    assert set.union(*sides) == {*PEOPLE}
    output = capsys.readouterr().out
    assert 'train: 6 clips, 2 group(s)' in output and 'warning' not in output
    config = Config.fromfile('data/my/lcr_my.py')
    assert config.val_dataloader.dataset.ann_file.endswith('my/val.txt')
    assert config.default_hooks.checkpoint.save_best == 'acc/top1'
    assert config.train_cfg.val_interval == config.train_cfg.max_epochs // 10
    best = '"$(ls -t work_dirs/lcr_my/best_acc_top1_epoch_*.pth | head -n 1)"'
    assert output.count(f'data/my/lcr_my.py {best} ') == 2
    assert 'last_checkpoint' not in output


def test_without_groups_it_is_said(people: Path, prepare: Callable,
                                   capsys: pytest.CaptureFixture) -> None:
    prepare('--folds', 4)
    assert 'warning: every clip is its own group' in capsys.readouterr().out
    for fold in range(4):  # one of each class, though there are no groups
        tested = lines(f'data/my/fold{fold}_test.txt')
        assert sorted(line[-1] for line in tested) == ['0', '1', '2']


@pytest.mark.parametrize('where', ['here', 'elsewhere'])
def test_the_config_reads_its_lists(where: str, people: Path,
                                    prepare: Callable, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, and after it was moved with its lists."""
    prepare('--folds', 2, *PATTERN)
    path = tmp_path / 'data/my/lcr_my.py'
    if where == 'elsewhere':
        path = Path(shutil.move(tmp_path / 'data', tmp_path / 'there'))
        path = path / 'my/lcr_my.py'
        monkeypatch.chdir('/')
    monkeypatch.setenv('LCR_FOLD', '1')
    config = Config.fromfile(path)
    assert config.model.cls_head.num_classes == 3
    for part in ('train', 'val', 'test'):
        loader = config[f'{part}_dataloader'].dataset
        assert loader.pipeline == config[f'{part}_pipeline']
        data = DATASETS.build(loader)
        assert len(data) == 6 and data.metainfo['classes'] == (
            'act0', 'act1', 'act2')
        width, height = config.size
        assert data[0]['inputs'].shape[1:] == (4, 8, height, width)


def test_weizmanns_config_is_the_measured_one(
        shared_data: Path, prepare: Callable, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen by the clips is what was chosen for them by hand."""
    prepare('--group', 'subject', '--folds', 3,
            source=shared_data / 'weizmann')
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path / 'data/my'))
    measured = Config.fromfile(ROOT / 'configs/lcr_weizmann.py')
    found = Config.fromfile('data/my/lcr_my.py')
    assert found.to_dict() == measured.to_dict()


@pytest.mark.parametrize('video, expected', [
    (dict(num_frames=60, fps=30), (4, [3, 4, 5])),
    (dict(num_frames=24, fps=30), (3, [2, 3])),
    (dict(num_frames=8, fps=30), (1, [1])),
    (dict(num_frames=60, fps=8), (1, [1, 2])),
], ids=['fps30', 'short', 'shortest', 'fps8'])
def test_frames_are_taken_as_the_clips_allow(
        video: dict, expected: tuple, people: Path, make_video: Callable,
        prepare: Callable) -> None:
    for path in people.rglob('*.mp4'):
        make_video(str(path), **video)
    prepare(*PATTERN)
    config = Config.fromfile('data/my/lcr_my.py')
    intervals = [choice[0].frame_interval
                 for choice in config.train_pipeline[1].transforms]
    assert (config.frame_interval, intervals) == expected
    assert config.stream_fps == pytest.approx(video['fps'] / expected[0])
    DATASETS.build(config.train_dataloader.dataset)  # opens all clips


@pytest.mark.parametrize('names, expected, output', [
    (('left', 'right', 'up'), dict(flip_ratio=0.5, flip_label_map={0: 1,
                                                                   1: 0}),
     'flip: mirrored clips change their labels, left - right'),
    (('wave left', 'up', 'down'), dict(flip_ratio=0),
     'flip: off, as these classes have no mirrored partner: wave left'),
    (('up', 'down', 'in'), dict(flip_ratio=0.5), 'keep their labels'),
], ids=['pair', 'alone', 'none'])
def test_flips_are_by_name(names: tuple, expected: dict, output: str,
                           people: Path, prepare: Callable,
                           capsys: pytest.CaptureFixture) -> None:
    for action, name in enumerate(names):
        (people / f'act{action}').rename(people / name)
    prepare(*PATTERN)
    assert output in capsys.readouterr().out
    flip = Config.fromfile('data/my/lcr_my.py').train_pipeline[5]
    assert flip == dict(type='Flip', **expected)


def test_paths_with_spaces(people: Path, prepare: Callable) -> None:
    (people / 'act0').rename(people / 'act zero')
    (people / 'act1/dan_act1.mp4').rename(people / 'act1/dan_1 (2).mp4')
    prepare('--test-share', 0.5, *PATTERN)
    config = Config.fromfile('data/my/lcr_my.py')
    both = [DATASETS.build(config[f'{part}_dataloader'].dataset)
            for part in ('train', 'test')]
    paths = {os.path.relpath(data.get_data_info(i)['filename'],
                             'data/my/videos')
             for data in both for i in range(len(data))}
    assert len(paths) == 12 and {'act zero/ann_act0.mp4',
                                 'act1/dan_1 (2).mp4'} < paths
    assert both[0].metainfo['classes'][0] == 'act zero'


def test_videos_below_and_other_files(people: Path, prepare: Callable,
                                      capsys: pytest.CaptureFixture) -> None:
    (people / 'act0/more').mkdir()
    (people / 'act0/ann_act0.mp4').rename(people / 'act0/more/ann_0.MP4')
    (people / 'act0/notes.txt').write_text('a')
    (people / 'act0/._ann_act0.mp4').write_text('of macOS')
    (people / '.hidden').mkdir()
    (people / 'README').write_text('a')
    prepare(*PATTERN)
    assert 'act0/more/ann_0.MP4 0' in lines('data/my/all.txt')
    assert len(lines('data/my/all.txt')) == 12
    output = capsys.readouterr().out
    assert '1 files that are no videos are left out: act0/notes.txt' in output


def test_the_same_clip_on_both_sides(people: Path, prepare: Callable,
                                     capsys: pytest.CaptureFixture) -> None:
    shutil.copy(people / 'act0/ann_act0.mp4', people / 'act0/dan_act0.mp4')
    prepare('--folds', 4, *PATTERN)
    assert ('warning: the same clip in training and test: '
            'act0/ann_act0.mp4, act0/dan_act0.mp4') in capsys.readouterr().out


def test_a_class_that_is_missing(people: Path, prepare: Callable,
                                 capsys: pytest.CaptureFixture) -> None:
    for person in PEOPLE[1:]:
        (people / f'act2/{person}_act2.mp4').unlink()
    prepare('--folds', 2, *PATTERN)
    output = capsys.readouterr().out
    assert 'warning: fold0_test has no clip of act2' in output
    assert 'warning: fold1_train has no clip of act2' in output


def test_copies(table: Path, prepare: Callable, refused: Callable) -> None:
    prepare('--group', 'subject', '--copy')
    path = Path('data/my/videos/act1/dan_act1.mp4')
    assert not path.is_symlink() and not Path('data/my/videos').is_symlink()
    assert path.read_bytes() == (table / 'act1/dan_act1.mp4').read_bytes()
    assert not Path('data/my/videos/labels.csv').exists()
    assert 'is there and not a link' in refused('--group', 'subject')
    other = table / 'act1/dan_act1.mp4'
    shutil.copy(table / 'act2/dan_act2.mp4', other)
    assert 'is another clip than' in refused('--group', 'subject', '--copy')
    prepare('--group', 'subject', '--copy', '--force')
    assert path.read_bytes() == other.read_bytes()
    outside = (table / 'labels.csv').read_text().replace(
        'act0/dan', '../source/act0/dan')
    (table / 'labels.csv').write_text(outside)
    assert 'lies outside of' in refused('--copy', out='data/other')


def test_scan_decodes_all(people: Path, prepare: Callable) -> None:
    assert prepare('--scan', *PATTERN) == 0
    assert Path('data/my/bad_clips.txt').read_text() == ''
    prepare(*PATTERN)  # which is no list of another split


def test_nothing_is_lost(people: Path, prepare: Callable,
                         refused: Callable) -> None:
    prepare('--folds', 2, *PATTERN)
    config = Path('data/my/lcr_my.py')
    before = {path: path.read_text() for path in Path('data/my').glob('*.*')
              if path.is_file()}
    prepare('--folds', 2, *PATTERN)  # the same: nothing to lose
    output = refused(*PATTERN)
    assert 'data/my holds other files already' in output
    assert 'fold0_test.txt' in output
    config.write_text(before[config] + '# mine\n')
    assert 'lcr_my.py' in refused('--folds', 2, *PATTERN)
    assert config.read_text() == before[config] + '# mine\n'
    config.write_text(before[config])
    assert before == {path: path.read_text() for path in before}
    Path('data/my/notes.txt').write_text('not of the tool')
    prepare('--force', *PATTERN)
    assert {path.name for path in Path('data/my').glob('*.txt')} == {
        'all.txt', 'train.txt', 'test.txt', 'classes.txt', 'notes.txt'}
    prepare(*PATTERN)  # nothing to lose: the notes stay


def set_csv(text: str) -> Callable:
    return lambda source: (source / 'labels.csv').write_text(text)


@pytest.mark.parametrize('spoil, options, message', [
    (set_csv('path,label,subject\n'), (), 'has no rows'),
    (set_csv('path,label\na.mp4,b\n'), ('--group', 'subject'),
     'line 2: no subject; columns are path, label'),
    (set_csv('path,label\na.mp4,\n'), (), 'line 2: no label'),
    (set_csv('path,label\n\n"a\nb.mp4",c\n\nd.mp4\n'), (),
     'line 6: no label'),
    (set_csv('path,label\n' + 'a' * 2**18), (),
     'labels.csv: not a CSV file in UTF-8: field larger'),
    (lambda s: (s / 'labels.csv').write_bytes(b'path,label\n\xe4.mp4,b\n'),
     (), "labels.csv: not a CSV file in UTF-8: 'utf-8' codec"),
    (set_csv('path,label\na.mp4 ,b\n'), (), "'a.mp4 ' must not begin"),
    (set_csv('path,label\na.mp4,b\na.mp4,c\n'), (),
     'occur twice, with other labels or groups: a.mp4; several labels of a'),
    (set_csv('path,label\na.mp4,b\nc.mp4,b|\n'), (),
     "one of the labels of c.mp4 is empty: 'b|'"),
    (set_csv('path,label,subject\na,b,Ann\nc,d, ann\n'), (
        '--group', 'subject'), "'Ann' and 'ann' would be two groups"),
    (lambda s: (s / 'act1/cem_act1.mp4').unlink(), (),
     '1 of 12 clips are bad: act1/cem_act1.mp4: there is no'),
    (lambda s: (s / 'act1/cem_act1.mp4').write_bytes(b''), (), 'is empty'),
    (lambda s: (s / 'act1/cem_act1.mp4').write_text('no'), (),
     'cem_act1.mp4: not a video'),
    (lambda s: None, ('--folds', 5, '--group', 'subject'),
     'between 2 and the number of groups, 4, got 5'),
    (lambda s: None, ('--folds', 1), '--folds must be at least 2, got 1'),
    (lambda s: None, ('--folds', 0), '--folds must be at least 2, got 0'),
    (lambda s: None, ('--group-pattern', '('), "the pattern '('"),
    (lambda s: None, ('--group-pattern', '(x+)'), 'is not found in act0/dan'),
    (lambda s: None, ('--folds', 2, '--val-share', 0.1),
     '--folds go without'),
    (lambda s: None, ('--test-share', 1), 'shares must be positive'),
], ids=['rows', 'column', 'label', 'line', 'csv', 'utf-8', 'blank', 'twice',
        'no-name', 'ann', 'missing', 'empty', 'text', 'folds', 'one-fold',
        'no-fold', 'pattern', 'no-match', 'both', 'share'])
def test_what_is_bad_is_named(spoil: Callable, options: tuple, message: str,
                              table: Path, refused: Callable,
                              capsys: pytest.CaptureFixture) -> None:
    spoil(table)
    output = refused(*options)
    assert message in output + capsys.readouterr().err
    assert not Path('data/my').exists()


@pytest.mark.parametrize('spoil, message', [
    (shutil.rmtree, 'there is no source'),
    (lambda s: (s / 'none').mkdir(), 'source/none: no videos'),
    (lambda s: [shutil.rmtree(p) for p in s.iterdir()],
     'neither a labels.csv nor sub-folders'),
], ids=['source', 'class', 'classes'])
def test_folders_that_are_no_classes(spoil: Callable, message: str,
                                     people: Path, refused: Callable) -> None:
    spoil(people)
    assert message in refused()


def test_out_is_not_a_class(people: Path, refused: Callable) -> None:
    assert 'one more class' in refused(out='source/lists')
    assert 'there is no source/labels.csv' in refused('--group', 'subject')


def test_short_clips_are_told(people: Path, make_video: Callable,
                              prepare: Callable,
                              capsys: pytest.CaptureFixture) -> None:
    """One of twelve does not change the distance of frames."""
    make_video(str(people / 'act0/ann_act0.mp4'), num_frames=7)
    prepare(*PATTERN)
    output = capsys.readouterr().out
    assert ('shortest clip, act0/ann_act0.mp4, has 7; 8 are sampled, 3 '
            'apart') in output
    assert ('warning: 1 of 12 clips have too few frames, so that frames are '
            'repeated: act0/ann_act0.mp4 has 7') in output
    config = Config.fromfile('data/my/lcr_my.py')
    assert config.frame_interval == 3
    data = [DATASETS.build(config[f'{part}_dataloader'].dataset)
            for part in ('train', 'test')]
    for each in data:
        for item in each:
            assert item['inputs'].shape[2] == 8


def test_lines_that_are_there_twice(table: Path, prepare: Callable,
                                    capsys: pytest.CaptureFixture) -> None:
    path = table / 'labels.csv'
    path.write_text(path.read_text() + 'act0/dan_act0.mp4,act0,dan\n')
    prepare('--group', 'subject')
    assert '1 lines of source/labels.csv are repeated' in (
        capsys.readouterr().out)
    assert len(lines('data/my/all.txt')) == 12


def test_one_class_alone_is_told(table: Path, prepare: Callable,
                                 capsys: pytest.CaptureFixture) -> None:
    path = table / 'labels.csv'
    path.write_text(re.sub(',act[0-2],', ',act,', path.read_text()))
    prepare('--group', 'subject')
    assert 'warning: there is only one class, act,' in capsys.readouterr().out
    config = Config.fromfile('data/my/lcr_my.py')
    assert len(DATASETS.build(config.train_dataloader.dataset)) == 9


def test_clips_of_several_labels(table: Path, prepare: Callable,
                                 capsys: pytest.CaptureFixture) -> None:
    path = table / 'labels.csv'
    path.write_text(path.read_text().replace(',act2,', ',act1|act0,'))
    prepare('--group', 'subject', '--val-share', 0.25)
    assert '12 clips of 2 classes' in capsys.readouterr().out
    assert 'act2/dan_act2.mp4 1 0' in lines('data/my/all.txt')
    assert 'act1/dan_act1.mp4 1' in lines('data/my/all.txt')
    assert lines('data/my/classes.txt') == ['act0', 'act1']
    config = Config.fromfile('data/my/lcr_my.py')
    assert config.model.cls_head.multi_class
    assert config.default_hooks.checkpoint.save_best == (
        'acc/mean_average_precision')
    for evaluator in config.val_evaluator, config.test_evaluator:
        assert evaluator == dict(
            type='AccMetric', metric_list='mean_average_precision')
    data = DATASETS.build(config.train_dataloader.dataset)
    found = {Path(item['data_samples'].path).name[-8:-4]:
             item['data_samples'].gt_label.tolist() for item in data}
    assert found == dict(act0=[1, 0], act1=[0, 1], act2=[1, 1])


def test_mixed_rates_are_sampled_by_time(people: Path, make_video: Callable,
                                         prepare: Callable,
                                         capsys: pytest.CaptureFixture
                                         ) -> None:
    """A class in 30 frames a second, and the others in 15, of one speed."""
    for number, path in enumerate(sorted(people.rglob('*.mp4'))):
        fps = 30 if number < 4 else 15
        make_video(str(path), num_frames=4 * fps, fps=fps, step=60 // fps)
    prepare(*PATTERN)
    output = capsys.readouterr().out
    assert ('from 15 to 30 a second, so frames are sampled by time: 8, '
            '0.12') in output
    assert 'warning' not in output
    config = Config.fromfile('data/my/lcr_my.py')
    assert config.stream_fps == pytest.approx(25 / 3)
    seconds = [choice[0].frame_seconds
               for choice in config.train_pipeline[1].transforms]
    assert seconds == [0.08, 0.12, 0.16]
    assert config.test_pipeline[1] == config.val_pipeline[1] == dict(
        type='SampleFramesByTime', clip_len=8, frame_seconds=0.12,
        num_clips=10, test_mode=True)
    data = DATASETS.build(config.train_dataloader.dataset)
    assert data[0]['inputs'].shape[2] == 8
    sampled = []
    for person, action in (('ann', 0), ('ann', 1)):
        clip = dict(start_index=0, filename=str(
            people / f'act{action}/{person}_act{action}.mp4'))
        for step in config.test_pipeline[:2]:
            clip = TRANSFORMS.build(step)(clip)
        inds = clip['frame_inds'].reshape(10, 8)
        sampled.append((inds - inds[:, :1]) / clip['avg_fps'])
    expected = 0.12 * np.arange(8)  # to half a frame
    assert np.abs(sampled[0] - expected).max() <= 0.5 / 30 + 1e-9
    assert np.abs(sampled[1] - expected).max() <= 0.5 / 15 + 1e-9


@pytest.mark.parametrize('name', ['browser_recording.webm', 'av1.mp4'])
def test_what_decord_can_not_read_is_prepared(name: str, people: Path,
                                              prepare: Callable,
                                              capsys: pytest.CaptureFixture
                                              ) -> None:
    """A recording without duration and rate, and a codec of these days."""
    case = ROOT.parent / 'shared' / 'cases' / name
    if not case.is_file():
        pytest.skip(f'there is no {case}')
    shutil.copy(case, people / 'act0' / name)
    prepare('--folds', 2)
    output = capsys.readouterr().out
    assert '13 clips of 3 classes' in output and 'taken by time' not in output


def test_audio_alone_is_named(people: Path, refused: Callable) -> None:
    encode_audio(people / 'act0/a.mp4')
    (people / 'act0/b.mp4').write_bytes(b'nothing to be seen')
    output = refused()
    assert '2 of 14 clips are bad: ' in output
    assert 'act0/a.mp4: no video stream, only audio (aac)' in output
    assert 'act0/b.mp4: not a video that can be opened' in output


@pytest.mark.parametrize('delimiter', [';', '\t', ', '],
                         ids=['semicolon', 'tab', 'space'])
def test_other_delimiters(delimiter: str, table: Path,
                          prepare: Callable) -> None:
    """Excel writes semicolons, a person a space after a comma."""
    text = (table / 'labels.csv').read_text().replace(',', delimiter)
    (table / 'labels.csv').write_text(text, encoding='utf-8-sig')
    prepare('--group', 'subject', '--folds', 2,
            source=table / 'labels.csv')
    assert groups('data/my/fold1_test.txt') == {'cem', 'dan'}
