# Copyright (c) The mmlcr authors. All rights reserved.
"""Lists of the public data sets, from tiny files of their owners' kinds."""
import json
from pathlib import Path
from typing import Any, Dict

import pytest
from mmengine.config import Config

from mmaction.registry import DATASETS
from mmlcr.cli import prepare_public
from mmlcr_cli import parse

ROOT = Path(__file__).resolve().parents[1]
OWNERS = dict(prepare_public.SETS)
# where their numbers are not those of the alphabet of the made-up others
SIDES = {
    50: 'Plugging something into something but pulling it right out as you '
        'remove your hand',  # of no side
    86: 'Pulling something from left to right',
    87: 'Pulling something from right to left',
    93: 'Pushing something from left to right',
    94: 'Pushing something from right to left',
    166: 'Turning the camera left while filming something',
    167: 'Turning the camera right while filming something',
}


def write(path: Path, text: str = 'x') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(name: str, root: Path, *options: str) -> int:
    return prepare_public.main(
        parse('prepare-public', [name, '--data-root', str(root), *options]))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of the tiny sets."""
    for name, public in prepare_public.SETS.items():
        monkeypatch.setitem(
            prepare_public.SETS, name,
            public._replace(counts=dict(train=2, val=1)))


@pytest.fixture
def ssv2(tmp_path: Path) -> Dict[str, Any]:
    """Its files, complete; what a test changes is written again."""
    names = [SIDES.get(i, f'Doing {i:03} with something') for i in range(174)]
    files = dict(
        labels={name: str(i) for i, name in enumerate(names)},
        train=[dict(id='7', template='Pulling [something] from left to right'),
               dict(id='8', template='Doing 003 with [something]')],
        validation=[dict(id='9', template='Doing 004 with [something]')])
    for name, content in files.items():
        write(tmp_path / f'annotations/something-something-v2-{name}.json',
              json.dumps(content))
    for clip in '789':
        write(tmp_path / f'videos/{clip}.webm')
    return files


def test_ssv2(ssv2: Dict[str, Any], tmp_path: Path,
              monkeypatch: pytest.MonkeyPatch,
              capsys: pytest.CaptureFixture) -> None:
    assert run('ssv2', tmp_path) == 0
    train = (tmp_path / 'sthv2_train_list_videos.txt').read_text()
    assert train == '7.webm 86\n8.webm 3\n'
    val = (tmp_path / 'sthv2_val_list_videos.txt').read_text()
    assert val == '9.webm 4\n'
    names = (tmp_path / 'classes.txt').read_text().split('\n')
    assert names[93] == SIDES[93] and len(names) == 175
    assert "2 clips published, 2 in the owners' file, 2 in" in (
        capsys.readouterr().out)


def test_ssv2_of_today_has_other_file_names(ssv2: Dict[str, Any],
                                            tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch
                                            ) -> None:
    folder = tmp_path / 'annotations'
    (folder / 'labels').mkdir()
    for path in folder.glob('*.json'):
        path.rename(folder / 'labels' / path.name.rsplit('-', 1)[1])
    assert run('ssv2', tmp_path) == 0


def test_what_is_missing_is_listed(ssv2: Dict[str, Any], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'videos/8.webm').unlink()
    write(tmp_path / 'videos/9.webm', '')
    assert run('ssv2', tmp_path) == 1
    assert (tmp_path / 'missing_train.txt').read_text() == (
        '8\tno such video\n')
    assert (tmp_path / 'missing_val.txt').read_text() == '9\tan empty file\n'
    train = (tmp_path / 'sthv2_train_list_videos.txt').read_text()
    assert train == '7.webm 86\n'
    output = capsys.readouterr().out
    assert 'train: 1 missing' in output and 'val: 1 missing' in output


def test_another_count_than_the_owners(ssv2: Dict[str, Any], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture) -> None:
    write(tmp_path / 'annotations/something-something-v2-train.json',
          json.dumps(ssv2['train'][:1]))
    assert run('ssv2', tmp_path) == 1
    assert 'train: 1 fewer in the file' in capsys.readouterr().out


@pytest.mark.parametrize('name, change, message', [
    ('labels', lambda f: {**f, SIDES[86]: '87', SIDES[87]: '86',
                          SIDES[93]: '95', 'Doing 095 with something': '93'},
     'the order of labels differs'),
    ('labels', lambda f: {**f, 'one more': '174'}, '174 classes are expected'),
    ('labels', lambda f: {**f, SIDES[86]: '174'}, 'numbered from 0 on'),
    ('labels', lambda f: {**f, SIDES[86]: '85'}, 'a number is used twice'),
    ('labels', lambda f: [1], 'labels.json: not names with a number each'),
    ('labels', lambda f: None, 'labels.json: not names with a number each'),
    ('labels', lambda f: 5, 'labels.json: not names with a number each'),
    ('train', lambda f: [dict(id='1', template='Flying')],
     'not among the labels: Flying'),
    ('train', lambda f: [dict(id='1')], 'must have id and template'),
    ('train', lambda f: None, 'must have id and template'),
], ids=['order', 'number', 'gap', 'twice', 'list', 'null', 'five', 'class',
        'field', 'null-clips'])
def test_ssv2_is_refused(name: str, change: Any, message: str,
                         ssv2: Dict[str, Any], tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / f'annotations/something-something-v2-{name}.json',
          json.dumps(change(ssv2[name])))
    with pytest.raises(SystemExit) as error:
        run('ssv2', tmp_path)
    assert message in str(error.value)
    assert not (tmp_path / 'sthv2_train_list_videos.txt').exists()


@pytest.fixture
def jester(tmp_path: Path) -> Path:
    """Its files and frames, complete."""
    names = Config.fromfile(ROOT / 'configs/lcr_jester.py').classes
    folder = tmp_path / 'annotations'
    write(folder / 'jester-v1-labels.csv', '\n'.join(names) + '\n')
    write(folder / 'jester-v1-train.csv',
          '11;Swiping Left\n12;Turning Hand Counterclockwise\n')
    write(folder / 'jester-v1-validation.csv', '13;Doing other things\n')
    for clip in (11, 12, 13):
        for frame in range(1, clip - 8):
            write(tmp_path / f'rawframes/{clip}/{frame:05d}.jpg')
        write(tmp_path / f'videos/{clip}.mp4')
    return folder


def test_jester_of_frames_and_of_videos(jester: Path, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    assert run('jester', tmp_path) == 0
    frames = (tmp_path / 'jester_train_list_rawframes.txt').read_text()
    assert frames == '11 2 0\n12 3 15\n'
    assert run('jester', tmp_path, '--videos') == 0
    videos = (tmp_path / 'jester_val_list_videos.txt').read_text()
    assert videos == '13.mp4 26\n'


def test_jester_of_any_kind_of_video_at_the_root_of_the_environment(
        jester: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for video in (tmp_path / 'videos').iterdir():
        video.rename(video.with_suffix('.mov'))
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    assert not prepare_public.main(parse('prepare-public',
                                         ['jester', '--videos']))
    videos = (tmp_path / 'jester_val_list_videos.txt').read_text()
    assert videos == '13.mov 26\n'


def test_jester_frames_that_are_not_all_there(jester: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch
                                              ) -> None:
    (tmp_path / 'rawframes/12/00002.jpg').unlink()
    (tmp_path / 'rawframes/13').rename(tmp_path / 'rawframes/14')
    assert run('jester', tmp_path) == 1
    assert (tmp_path / 'missing_train.txt').read_text() == (
        '12\t2 pictures, and no 00002.jpg\n')
    assert (tmp_path / 'missing_val.txt').read_text() == (
        '13\tNo such file or directory\n')


def test_hidden_files_are_no_frames_and_no_videos(
        jester: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS adds them."""
    for clip in (11, 12, 13):
        write(tmp_path / f'rawframes/{clip}/._00001.jpg')
        write(tmp_path / f'rawframes/{clip}/.DS_Store')
    write(tmp_path / 'videos/._11.mp4', '')
    assert run('jester', tmp_path) == 0
    frames = (tmp_path / 'jester_train_list_rawframes.txt').read_text()
    assert frames == '11 2 0\n12 3 15\n'
    assert run('jester', tmp_path, '--videos') == 0


def test_jester_in_another_order_keeps_the_configs(
        jester: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    path = jester / 'jester-v1-labels.csv'
    names = path.read_text().strip().split('\n')
    path.write_text('\n'.join(reversed(names)) + '\n')
    assert run('jester', tmp_path) == 0
    assert 'another order' in capsys.readouterr().out
    assert (tmp_path / 'classes.txt').read_text().strip().split('\n') == names
    frames = (tmp_path / 'jester_train_list_rawframes.txt').read_text()
    assert frames == '11 2 0\n12 3 15\n'


@pytest.mark.parametrize('name, text, message', [
    ('labels', 'Waving\n' * 27, '27 classes are expected, got 1'),
    ('labels', '\n'.join(map(str, range(27))), 'other classes than'),
    ('train', '11\n', 'train.csv, line 1: expected "id;label"'),
    ('train', '11;Swiping Left\n\n12\n', 'train.csv, line 3: expected "id;'),
    ('train', '11;' + 'a' * 2**18, 'train.csv: not a CSV file in UTF-8'),
    ('validation', '11;Waving\n', 'not among the labels: Waving'),
], ids=['number', 'names', 'field', 'after-blank', 'csv', 'class'])
def test_jester_is_refused(name: str, text: str, message: str, jester: Path,
                           tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    write(jester / f'jester-v1-{name}.csv', text)
    with pytest.raises(SystemExit) as error:
        run('jester', tmp_path)
    assert message in str(error.value)


@pytest.fixture
def k400(tmp_path: Path) -> Path:
    """Its files, and videos of both layouts."""
    folder = tmp_path / 'annotations'
    # with _ for a space, "a_b" comes after "aB" and before "ab"
    names = [f'class {i:03}' for i in range(397)] + ['a b', 'aB', 'ab']
    rows = ''.join(f'"{name}",id{i},1,11,train,0\n'
                   for i, name in enumerate(names))
    header = 'label,youtube_id,time_start,time_end,split,is_cc\n'
    write(folder / 'train.csv', header + rows)
    write(folder / 'val.csv', header + 'ab,-x_y,100,110.0,val,0\n')
    for i in range(400):
        sub = names[i].replace(' ', '_') + '/' if i % 2 else ''
        write(tmp_path / f'videos_train/{sub}id{i}_000001_000011.mp4')
    write(tmp_path / 'videos_val/-x_y_000100_000110.mp4')
    return folder


def test_k400(k400: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
              capsys: pytest.CaptureFixture) -> None:
    assert run('k400', tmp_path) == 1
    assert 'train: 398 more in the file' in capsys.readouterr().out
    classes = (tmp_path / 'classes.txt').read_text().split('\n')
    assert classes[:4] == ['aB', 'a b', 'ab', 'class 000']
    lines = (tmp_path / 'kinetics400_train_list_videos.txt').read_text()
    lines = lines.split('\n')
    assert lines[:2] == ['id0_000001_000011.mp4 3',
                         'class_001/id1_000001_000011.mp4 4']
    assert lines[397] == 'a_b/id397_000001_000011.mp4 1'
    val = (tmp_path / 'kinetics400_val_list_videos.txt').read_text()
    assert val == '-x_y_000100_000110.mp4 2\n'


def test_k400_in_folders_with_spaces(k400: Path, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture) -> None:
    """Lists that the config reads."""
    folder = tmp_path / 'videos_train'
    (folder / 'a_b').rename(folder / 'a b')
    run('k400', tmp_path)
    assert '1 paths in' in capsys.readouterr().out
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    config = Config.fromfile(ROOT / 'configs/lcr_k400.py')
    clip = DATASETS.build(config.train_dataloader.dataset).get_data_info(397)
    assert clip['filename'] == f'{folder}/a b/id397_000001_000011.mp4'
    assert clip['label'] == 1


@pytest.mark.parametrize('spoil, message', [
    (lambda r: (r / 'annotations/val.csv').unlink(), 'there is no val.csv or'),
    (lambda r: write(r / 'annotations/val.csv', 'a,b\n'), 'columns must be'),
    (lambda r: write(r / 'annotations/val.csv',
                     'label,youtube_id,time_start,time_end\nab,x,one,2\n'),
     'line 2: no clip'),
], ids=['missing', 'columns', 'time'])
def test_k400_is_refused(spoil: Any, message: str, k400: Path, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(tmp_path)
    with pytest.raises(SystemExit) as error:
        run('k400', tmp_path)
    assert message in str(error.value)


def test_counts_are_those_of_the_owners() -> None:
    """As Kinetics' paper, and the pages of the other two, tell them."""
    assert {name: (*public.counts.values(), public.classes)
            for name, public in OWNERS.items()} == dict(
                k400=(246_535, 19_907, 400), ssv2=(168_913, 24_777, 174),
                jester=(118_562, 14_787, 27))
