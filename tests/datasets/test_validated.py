# Copyright (c) The mmlcr authors. All rights reserved.
"""Validation of lists and clips; errors name the line or clip."""
import os
import pickle
import re
from pathlib import Path
from typing import Any, Callable, List

import cv2
import numpy as np
import pytest

from mmaction.registry import DATASETS
from mmlcr.datasets import ClipError

CLIP_LEN, INTERVAL = 4, 2
NEEDED = (CLIP_LEN - 1) * INTERVAL + 1  # frames


def pipeline(kind: str = 'Decord', **sampling: Any) -> list:
    """A pipeline from a file to the model's input."""
    sample = dict(
        type='SampleFrames', clip_len=CLIP_LEN, frame_interval=INTERVAL)
    sample.update(sampling)
    decode = dict(
        Decord=[dict(type='DecordInit'), sample,
                dict(type='DecordDecode')],
        OpenCV=[dict(type='OpenCVInit'), sample,
                dict(type='OpenCVDecode')],
        Raw=[sample, dict(type='RawFrameDecode')])[kind]
    return decode + [
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')
    ]


@pytest.fixture
def video_set(tmp_path: Path) -> Callable:
    """Build a data set from the lines of its list."""

    def build(*lines: str, **options: Any) -> Any:
        (tmp_path / 'list.txt').write_text('\n'.join(lines))
        config = dict(
            type='ValidatedVideoDataset',
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(video=str(tmp_path)),
            num_classes=3,
            pipeline=pipeline())
        return DATASETS.build({**config, **options})

    return build


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The messages of the log."""
    lines: List[str] = []
    monkeypatch.setattr('mmlcr.datasets.validated.print_log',
                        lambda text, *args: lines.append(text))
    return lines


@pytest.fixture
def frame_set(tmp_path: Path, make_frames: Callable) -> Callable:
    """The same with a folder ``frames`` of nine frames."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    for number, frame in enumerate(make_frames(num_frames=9), 1):
        cv2.imwrite(str(folder / f'img_{number:05}.jpg'), frame[..., ::-1])

    def build(*lines: str, **options: Any) -> Any:
        (tmp_path / 'list.txt').write_text('\n'.join(lines))
        config = dict(
            type='ValidatedRawframeDataset',
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(img=str(tmp_path)),
            num_classes=3,
            pipeline=pipeline('Raw'))
        return DATASETS.build({**config, **options})

    return build


@pytest.mark.parametrize('kind', ['Decord', 'OpenCV'])
def test_good_videos_are_read(kind: str, video_set: Callable,
                              make_video: Callable) -> None:
    make_video('a.mp4', num_frames=NEEDED)
    make_video('sub/b.mp4', num_frames=20)
    data = video_set('a.mp4 2', 'sub/b.mp4 0', pipeline=pipeline(kind))
    assert len(data) == 2
    assert [item['data_samples'].gt_label.item() for item in data] == [2, 0]
    for item in data:
        assert item['inputs'].shape == (1, 3, CLIP_LEN, 48, 64)
        assert item['inputs'].float().std() > 0


def test_missing_list_describes_its_format(video_set: Callable,
                                           tmp_path: Path) -> None:
    missing = str(tmp_path / 'train.txt')
    with pytest.raises(FileNotFoundError) as error:
        video_set(ann_file=missing)
    for part in (missing, 'path label', '[0, 3)', str(tmp_path),
                 'docs/datasets.md'):
        assert part in str(error.value)


def test_empty_list(video_set: Callable) -> None:
    with pytest.raises(ClipError, match='list.txt is empty'):
        video_set('', ' ')


@pytest.mark.parametrize('lines', [('a.mp4 2', '', 'a.mp4 0'),
                                   ('a.mp4 2', 'a.mp4 0', '', '')],
                         ids=['between', 'at-the-end'])
def test_blank_lines_are_no_clips(lines: tuple, video_set: Callable,
                                  make_video: Callable) -> None:
    make_video('a.mp4')
    data = video_set(*lines)
    assert [item['data_samples'].gt_label.item() for item in data] == [2, 0]


def test_blank_lines_are_counted(video_set: Callable,
                                 make_video: Callable) -> None:
    make_video('a.mp4')
    with pytest.raises(ClipError, match=r'list\.txt, line 3: .*got 7'):
        video_set('a.mp4 0', '', 'a.mp4 7')


@pytest.mark.parametrize(
    'line, message',
    [
        ('a.mp4', 'expected "path label", got \'a.mp4\''),
        ('a.mp4 1 2', 'expected "path label".*multi_class=True'),
        ('a.mp4 3', r'label must be in \[0, 3\), got 3'),
        ('a.mp4 -1', r'label must be in \[0, 3\), got -1'),
        ('a.mp4 walk', "label must be a whole number, got 'walk'"),
        ('a.mp4 1.5', "label must be a whole number, got '1.5'"),
        ('a.mp4 --1', "label must be a whole number, got '--1'"),
        ('a.mp4 \u00b2', 'label must be a whole number'),
        ('a.mp4 1000000000', 'label has more than 9 digits'),
        ('a.mp4 ' + '1' * 5000, r"'1{200}'\.\.\. of 5000 characters"),
        ('a' * 5000, r"'a{200}'\.\.\. of 5000 characters"),
        ('pipe 1', 'pipe is neither a file nor a folder'),
        ('a.mp4\0 1', r'there is no .*a\.mp4'),
        ('gone.mp4 1', r'there is no .*gone\.mp4'),
        ('empty.mp4 1', r'empty\.mp4 is empty'),
    ],
    ids=[
        'no-label', 'two-labels', 'too-large', 'negative', 'word', 'fraction',
        'two-signs', 'superscript', 'large', 'huge', 'long', 'pipe', 'nul',
        'missing', 'empty'
    ])
def test_bad_line_is_named(line: str, message: str, video_set: Callable,
                           make_video: Callable, tmp_path: Path) -> None:
    make_video('a.mp4')
    (tmp_path / 'empty.mp4').touch()
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ClipError, match=rf'list\.txt, line 2: .*{message}'):
        video_set('a.mp4 0', line)


def test_list_in_another_encoding_is_named(video_set: Callable,
                                           make_video: Callable,
                                           tmp_path: Path) -> None:
    make_video('a.mp4')
    path = tmp_path / 'other.txt'
    path.write_bytes(b'a.mp4 0\na.mp4 1\nM\xfcnchen.mp4 1\n')
    with pytest.raises(
            ClipError, match=r'other\.txt, line 3: not UTF-8 at byte 2 of'):
        video_set(ann_file=str(path))
    with pytest.raises(ClipError, match=r'other\.txt, line 3: not UTF-8'):
        video_set('a.mp4 0', classes=str(path))


@pytest.mark.parametrize('data', [
    b'\xef\xbb\xbfa.mp4 2\na.mp4 0\n', b'a.mp4 2\r\na.mp4 0\r\n',
    b'a.mp4 2\ra.mp4 0', b'\n  a.mp4 2  \na.mp4 0\n\n'
], ids=['byte-order-mark', 'carriage-returns', 'old-mac', 'spaces'])
def test_lists_of_other_editors(data: bytes, video_set: Callable,
                                make_video: Callable, tmp_path: Path) -> None:
    make_video('a.mp4')
    path = tmp_path / 'other.txt'
    path.write_bytes(data)
    clips = video_set(ann_file=str(path))
    assert [clips.get_data_info(n)['label'] for n in range(2)] == [2, 0]


def test_list_that_is_a_folder_is_named(video_set: Callable,
                                        tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=f'{tmp_path} can not be read'):
        video_set(ann_file=str(tmp_path))


def test_pipe_is_not_waited_for(video_set: Callable, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.mp4')
    data = video_set('pipe.mp4 1', check_files=False)
    with pytest.raises(ClipError, match=r'pipe\.mp4: neither a file nor'):
        data[0]


def test_claim_of_more_frames_than_bytes_is_refused(
        video_set: Callable, make_video: Callable) -> None:
    """OpenCV would read on for hours."""
    path = make_video('a.avi', codec='MJPG')
    data = bytearray(path.read_bytes())
    for head, offset in ((b'avih', 8 + 16), (b'strh', 8 + 32)):
        at = data.index(head) + offset
        assert data[at] == 12  # frames
        data[at:at + 4] = (2**31 - 1).to_bytes(4, 'little')
    path.write_bytes(data)
    clips = video_set('a.avi 1', pipeline=pipeline('OpenCV', test_mode=True))
    message = (r'a\.avi: its header claims 2147483647 frames, but the file '
               f'has {len(data)} bytes')
    with pytest.raises(ClipError, match=message):
        clips[0]


@pytest.mark.parametrize('options', [
    dict(), dict(delimiter=' '), dict(delimiter=';')],
                         ids=['found', 'space', 'semicolon'])
def test_delimiters_and_paths_with_spaces(options: dict, video_set: Callable,
                                          make_video: Callable) -> None:
    """The label is the last field, for any delimiter."""
    for name in 'a clip.mp4', 'a, b.mp4', 'walk 3.mp4':
        make_video(name)
    lines = ('a clip.mp4 1', 'a clip.mp4\t1', 'a clip.mp4,1',
             'a clip.mp4 , 1', 'a clip.mp4   +01', 'a, b.mp4 2',
             'a, b.mp4,2', 'walk 3.mp4 0')
    if options == dict(delimiter=';'):
        lines = tuple(re.sub('[ \t,]*([+0-9]+)$', r';\1', line)
                      for line in lines)
    data = video_set(*lines, **options)
    found = [data.get_data_info(number) for number in range(len(data))]
    assert [clip['label'] for clip in found] == [1] * 5 + [2, 2, 0]
    assert [Path(clip['filename']).name for clip in found] == [
        *['a clip.mp4'] * 5, 'a, b.mp4', 'a, b.mp4', 'walk 3.mp4']


def test_folders_with_spaces(frame_set: Callable, tmp_path: Path) -> None:
    (tmp_path / 'frames').rename(tmp_path / 'my 12')
    for line in 'my 12 9 1', 'my 12\t9\t1', 'my 12,9,1':
        clip = frame_set(line).get_data_info(0)
        assert clip['frame_dir'] == str(tmp_path / 'my 12')
        assert (clip['total_frames'], clip['label']) == (9, 1)


def test_the_error_of_a_line_suggests_a_delimiter(
        video_set: Callable, make_video: Callable) -> None:
    make_video('a.mp4')
    with pytest.raises(ClipError, match='spaces, tabs or commas must separate '
                       "the fields, .* delimiter=';'"):
        video_set('a.mp4;1')
    with pytest.raises(ClipError, match=r"got 'a\.mp4 1'; '\|' must separate"):
        video_set('a.mp4 1', delimiter='|')
    with pytest.raises(ClipError, match='several labels take multi_class'):
        video_set('a.mp4 1 2')


@pytest.mark.parametrize('kind', ['videos', 'folders'])
def test_several_labels_of_a_clip(kind: str, video_set: Callable,
                                  frame_set: Callable, make_video: Callable,
                                  tmp_path: Path) -> None:
    """Many-hot vectors; spaces in the path, and clips without a label."""
    make_video('a clip 7.mp4')
    (tmp_path / 'frames').rename(tmp_path / 'my 12')
    build, start = (video_set, 'a clip 7.mp4') if kind == 'videos' else (
        frame_set, 'my 12 9')
    lines = [f'{start} 0 2', f'{start} 1', start, f'{start} 2 +0 00']
    if kind == 'folders':  # else a number of the name would be one
        lines = [line.replace('my 12 ', 'my 12\t') for line in lines]
    data = build(*lines, multi_class=True)
    assert [item['data_samples'].gt_label.tolist() for item in data] == [
        [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    tab, comma = f'{start}\t1 2', f'{start},1,2'
    if kind == 'folders':
        tab, comma = 'my 12\t9\t1 2', 'my 12,9,1,2'
    for line in tab, comma:
        data = build(line, multi_class=True)
        assert data[0]['data_samples'].gt_label.tolist() == [0, 1, 1]
    with pytest.raises(ClipError, match=r'label must be in \[0, 3\), got 3'):
        build(f'{lines[0]} 3', multi_class=True)


def test_folders_whose_names_are_numbers(frame_set: Callable,
                                         tmp_path: Path) -> None:
    """Jester has such folders."""
    (tmp_path / 'frames').rename(tmp_path / '148092')
    data = frame_set('148092 9 1 2', multi_class=True)
    assert data.get_data_info(0)['total_frames'] == 9
    assert data[0]['data_samples'].gt_label.tolist() == [0, 1, 1]
    data = frame_set('148092 9 1')
    assert data[0]['data_samples'].gt_label.item() == 1


@pytest.mark.parametrize('nested', [False, True], ids=['plain', 'nested'])
@pytest.mark.parametrize('labels, mirrored', [
    ('0', [0, 1, 0]), ('0 1', [1, 1, 0]), ('1 2', [1, 0, 1]), ('', [0] * 3)])
def test_mirrored_clips_swap_several_labels(
        labels: str, mirrored: List[int], nested: bool, video_set: Callable,
        make_video: Callable) -> None:
    make_video('a.mp4')
    flip = dict(type='Flip', flip_ratio=1., flip_label_map={0: 1, 1: 0})
    steps = pipeline()
    steps[3:3] = [dict(type='RandomApply', transforms=[flip], prob=1.)
                  if nested else flip]
    data = video_set(f'a.mp4 {labels}', multi_class=True, pipeline=steps)
    for _ in range(2):
        assert data[0]['data_samples'].gt_label.tolist() == mirrored
    if labels == '0':
        data = video_set('a.mp4 0', pipeline=steps)
        assert data[0]['data_samples'].gt_label.item() == 1


def test_a_test_set_may_lack_labels(
        video_set: Callable, make_video: Callable,
        logged: List[str]) -> None:
    """As in MMAction2, such clips have predictions only."""
    make_video('a.mp4')
    data = video_set('a.mp4', 'a.mp4 2', 'a.mp4 -1', test_mode=True)
    assert [item['data_samples'].gt_label.item() for item in data
            ] == [-1, 2, -1]
    assert '2 of 3 clips have no label' in ''.join(logged)
    with pytest.raises(ClipError, match='expected "path label"'):
        video_set('a.mp4')


def test_a_folder_of_a_test_set_may_lack_its_label(
        frame_set: Callable) -> None:
    clip = frame_set('frames 9', test_mode=True).get_data_info(0)
    assert (clip['total_frames'], clip['label']) == (9, -1)


def test_paths_without_suffix_are_as_in_mmaction2(
        video_set: Callable, make_video: Callable) -> None:
    make_video('sub/abc.mp4')
    for kind in 'Decord', 'OpenCV':
        data = video_set('sub/abc 1', pipeline=pipeline(kind))
        assert data[0]['inputs'].float().std() > 0


def test_remote_paths_are_not_checked(video_set: Callable) -> None:
    data = video_set('a.mp4 1', data_prefix=dict(video='s3://clips'))
    assert data.get_data_info(0)['filename'] == 's3://clips/a.mp4'


@pytest.mark.parametrize('kind', ['Decord', 'OpenCV'])
def test_truncated_video_is_named(kind: str, video_set: Callable,
                                  make_video: Callable) -> None:
    path = make_video('cut.mp4', num_frames=30)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    data = video_set('cut.mp4 1', pipeline=pipeline(kind))
    with pytest.raises(ClipError, match=r'cut\.mp4: .*'):
        data[0]
    with pytest.raises(ClipError, match=r'cut\.mp4: .*'):
        video_set('cut.mp4 1', pipeline=pipeline(kind), open_files=True)


@pytest.mark.parametrize('kind', ['Decord', 'OpenCV'])
def test_truncated_avi_is_named(kind: str, video_set: Callable,
                                make_video: Callable, run_python: Callable,
                                tmp_path: Path) -> None:
    """Read it in a separate process, as decord crashes on such a file.

    OpenCV's decoder stands an earlier frame in for each that is not there.
    """
    path = make_video('cut.avi', codec='MJPG', num_frames=30)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    data = video_set(
        'cut.avi 1',
        lazy_init=True,
        pipeline=pipeline(kind, clip_len=30, frame_interval=1))
    (tmp_path / 'data.pkl').write_bytes(pickle.dumps(data))
    run = run_python(
        'import pickle, sys, mmlcr\n'
        'data = pickle.load(open(sys.argv[1], "rb"))\n'
        'data.full_init()\n'
        'data[0]\n', tmp_path / 'data.pkl')
    assert run.returncode == 1, run.stderr[-200:]
    assert re.search(r'ClipError: .*cut\.avi', run.stderr)


@pytest.mark.parametrize('size', [0, 2**32 - 1], ids=['zero', 'ones'])
def test_avi_without_its_size_is_named(size: int, video_set: Callable,
                                       make_video: Callable) -> None:
    """FFmpeg writes such a file to a pipe, and decord crashes on it."""
    path = make_video('a.avi', codec='MJPG')
    data = bytearray(path.read_bytes())
    data[4:8] = size.to_bytes(4, 'little')
    path.write_bytes(data)
    with pytest.raises(ClipError, match='a.avi is an AVI without its '
                       'size.*-c copy'):
        video_set('a.avi 1')


def test_text_in_place_of_a_video_is_named(video_set: Callable,
                                           tmp_path: Path) -> None:
    (tmp_path / 'notes.mp4').write_text('not a video')
    data = video_set('notes.mp4 1')
    with pytest.raises(ClipError, match=r'notes\.mp4: .*in DecordInit'):
        data[0]


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
@pytest.mark.parametrize('kind', ['Decord', 'OpenCV'])
def test_short_video_repeats_frames(kind: str, test_mode: bool,
                                    video_set: Callable,
                                    make_video: Callable) -> None:
    """As in MMAction2, the first frames follow the last one."""
    make_video('short.mp4', num_frames=NEEDED - 2)
    make_video('enough.mp4', num_frames=NEEDED)
    data = video_set('enough.mp4 0', 'short.mp4 1',
                     pipeline=pipeline(kind, test_mode=test_mode))
    short, enough = data[1], data[0]
    frames = short['inputs'][0].float()  # number 0, 2, 4 and 1
    assert frames.shape[1] == CLIP_LEN
    steps = (frames - frames[:, :1]).abs().flatten(2).mean((0, 2))
    assert steps[1] < steps[2] and 0 < steps[3] < steps[1]
    assert short['data_samples'].short == (
        f'has {NEEDED - 2} frames, and {CLIP_LEN} frames with an interval of '
        f'{INTERVAL} need {NEEDED}')
    assert enough['data_samples'].short == ''


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
def test_short_video_is_named_on_request(test_mode: bool, video_set: Callable,
                                         make_video: Callable) -> None:
    make_video('short.mp4', num_frames=NEEDED - 1)
    make_video('enough.mp4', num_frames=NEEDED)
    options: dict = dict(
        pipeline=pipeline(test_mode=test_mode), short_clips='stop')
    data = video_set('enough.mp4 0', 'short.mp4 1', **options)
    assert data[0]['inputs'].shape[2] == CLIP_LEN
    message = (rf'short\.mp4: has {NEEDED - 1} frames, and {CLIP_LEN} frames '
               f'with an interval of {INTERVAL} need {NEEDED}')
    with pytest.raises(ClipError, match=message):
        data[1]
    with pytest.raises(ClipError, match=message):
        video_set('short.mp4 1', open_files=True, **options)
    with pytest.raises(ValueError, match="'repeat' or 'stop', got 'skip'"):
        video_set('short.mp4 1', short_clips='skip')


def test_short_videos_warn_once_where_all_are_opened(
        video_set: Callable, make_video: Callable,
        logged: List[str]) -> None:
    for name, frames in (('a', NEEDED - 1), ('b', NEEDED), ('c', 1)):
        make_video(f'{name}.mp4', num_frames=frames)
    data = video_set('a.mp4 0', 'b.mp4 1', 'c.mp4 2', open_files=True)
    output = ''.join(logged)
    assert output.count('2 of 3 clips have fewer frames than are sampled') == 1
    assert f'a.mp4 has {NEEDED - 1} frames' in output
    assert [data[i]['data_samples'].short for i in range(3)] == ['', '', '']


def test_opening_tries_all_that_a_random_choice_may_sample(
        video_set: Callable, make_video: Callable,
        logged: List[str]) -> None:
    make_video('short.mp4', num_frames=NEEDED - 1)
    make_video('enough.mp4', num_frames=NEEDED)
    steps = pipeline()
    steps[1] = dict(
        type='RandomChoice',
        transforms=[[dict(steps[1], frame_interval=1)], [steps[1]]],
        prob=[1., 0.])  # the one that does not fit is never drawn
    video_set('enough.mp4 0', pipeline=steps, open_files=True)
    assert 'fewer frames' not in ''.join(logged)
    video_set('short.mp4 1', pipeline=steps, open_files=True)
    assert '1 of 1 clips have fewer frames' in ''.join(logged)
    with pytest.raises(ClipError, match=r'short\.mp4: has'):
        video_set('short.mp4 1', pipeline=steps, open_files=True,
                  short_clips='stop')


@pytest.mark.parametrize('sampler, short', [
    (dict(type='UniformSample', clip_len=CLIP_LEN), 'has 3 frames, and 4 '
     'frames with an interval of 1 need 4'),
    (dict(type='SampleFramesByTime', clip_len=CLIP_LEN, frame_seconds=0.04),
     'has 3 of the 4 frames sampled by time'),
], ids=['uniform', 'time'])
def test_other_samplers_need_a_frame_each(sampler: dict, short: str,
                                          video_set: Callable,
                                          make_video: Callable) -> None:
    make_video('short.mp4', num_frames=CLIP_LEN - 1)
    make_video('enough.mp4', num_frames=CLIP_LEN)
    steps = pipeline()
    steps[1] = sampler
    data = video_set('enough.mp4 0', 'short.mp4 1', pipeline=steps)
    assert [item['inputs'].shape[2] for item in data] == [CLIP_LEN] * 2
    assert [item['data_samples'].short for item in data] == ['', short]


def test_error_of_a_transform_names_clip_and_transform(
        video_set: Callable, make_video: Callable) -> None:
    make_video('a.mp4')
    steps = pipeline()
    steps[3:3] = [dict(type='EdgeMap'), dict(type='EdgeMap')]
    with pytest.raises(
            ClipError, match=r'a\.mp4: ValueError in EdgeMap: EdgeMap needs'):
        video_set('a.mp4 0', pipeline=steps)[0]


def test_files_are_checked_unless_disabled(video_set: Callable) -> None:
    data = video_set('gone.mp4 1', check_files=False)
    with pytest.raises(ClipError, match=r'gone\.mp4'):
        data[0]


def test_good_files_may_all_be_opened(video_set: Callable,
                                      make_video: Callable) -> None:
    make_video('a.mp4')
    data = video_set('a.mp4 0', 'a.mp4 1', open_files=True)
    assert len(data) == 2


def test_class_names_are_metainfo(video_set: Callable, make_video: Callable,
                                  tmp_path: Path) -> None:
    make_video('a.mp4')
    names = ['bend', 'jack', 'wave one']
    assert video_set(
        'a.mp4 0', classes=names).metainfo['classes'] == tuple(names)
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(names) + '\n')
    assert video_set(
        'a.mp4 0', classes=str(path)).metainfo['classes'] == tuple(names)
    assert 'classes' not in video_set('a.mp4 0').metainfo


def test_a_missing_file_of_class_names_warns(
        video_set: Callable, make_video: Callable, logged: List[str]) -> None:
    """MMAction2's own layouts have none."""
    make_video('a.mp4')
    data = video_set('a.mp4 0', classes='gone.txt')
    assert 'classes' not in data.metainfo
    assert len(logged) == 1 and 'there is no gone.txt' in logged[0]


def test_other_number_of_class_names(video_set: Callable,
                                     make_video: Callable,
                                     tmp_path: Path) -> None:
    make_video('a.mp4')
    with pytest.raises(ValueError, match='2 class names for num_classes=3'):
        video_set('a.mp4 0', classes=['bend', 'jack'])
    (tmp_path / 'classes.txt').write_text('bend\njack\n')
    with pytest.raises(ValueError, match=r'num_classes=3 in .*classes\.txt'):
        video_set('a.mp4 0', classes=str(tmp_path / 'classes.txt'))


def test_good_frames_are_read(frame_set: Callable) -> None:
    data = frame_set('frames 9 2', 'frames 7 0')
    assert [item['data_samples'].gt_label.item() for item in data] == [2, 0]
    for item in data:
        assert item['inputs'].shape == (1, 3, CLIP_LEN, 48, 64)


def test_blank_lines_are_no_folders(frame_set: Callable) -> None:
    data = frame_set('frames 9 2', '', 'frames 9 0')
    assert [item['data_samples'].gt_label.item() for item in data] == [2, 0]


@pytest.mark.parametrize(
    'line, message',
    [
        ('frames 9', 'expected "folder frames label"'),
        ('frames 9 1 1', 'expected "folder frames label"'),
        ('frames nine 1', "frames must be a whole number, got 'nine'"),
        ('frames 9 3', r'label must be in \[0, 3\), got 3'),
        ('gone 9 1', 'there is no .*gone'),
    ],
    ids=['no-label', 'two-labels', 'word', 'too-large', 'missing'])
def test_bad_line_of_frames_is_named(line: str, message: str,
                                     frame_set: Callable) -> None:
    with pytest.raises(ClipError, match=rf'list\.txt, line 2: .*{message}'):
        frame_set('frames 9 0', line)


@pytest.mark.parametrize('count', [0, -3])
def test_a_folder_without_frames_is_named(count: int,
                                          frame_set: Callable) -> None:
    with pytest.raises(ClipError, match='frames: holds no frame, .* is '
                       f'{count}'):
        frame_set(f'frames {count} 1')[0]


@pytest.mark.parametrize('choice', [False, True], ids=['sampler', 'choice'])
def test_short_folders_warn_before_training(
        choice: bool, frame_set: Callable,
        logged: List[str]) -> None:
    """The list has the lengths: nothing is opened, and samples don't warn."""
    steps = pipeline('Raw')
    if choice:
        steps[0] = dict(type='RandomChoice', transforms=[
            [dict(steps[0], frame_interval=each)] for each in (1, INTERVAL)])
    data = frame_set('frames 6 1', 'frames 9 0', 'frames 1 2', pipeline=steps)
    output = ''.join(logged)
    assert output.count('2 of 3 clips have fewer frames than are sampled') == 1
    assert f'frames has 6, and {NEEDED} are sampled from' in output
    for item in data:
        assert item['inputs'].shape[2] == CLIP_LEN
        assert item['data_samples'].short == ''
    logged.clear()
    frame_set('frames 9 0', pipeline=steps)
    assert 'fewer frames' not in ''.join(logged)


def test_folders_by_time(frame_set: Callable,
                         logged: List[str]) -> None:
    steps = pipeline('Raw')
    steps[0] = dict(type='SampleFramesByTime', clip_len=CLIP_LEN,
                    frame_seconds=0.25, fps=12.)
    data = frame_set('frames 9 1', pipeline=steps)
    assert '1 of 1 clips have fewer' in ''.join(logged)
    assert data[0]['inputs'].shape[2] == CLIP_LEN


@pytest.mark.parametrize('nested', [False, True], ids=['plain', 'nested'])
def test_a_sampler_that_would_ignore_the_time_is_refused(
        nested: bool, video_set: Callable, make_video: Callable) -> None:
    """MMAction2's sampler accepts any argument."""
    make_video('a.mp4')
    steps = pipeline(frame_seconds=0.12)
    if nested:
        steps[1] = dict(type='RandomChoice', transforms=[[steps[1]]])
    with pytest.raises(ValueError, match="type='SampleFramesByTime'"):
        video_set('a.mp4 1', pipeline=steps)


def test_hidden_files_of_a_folder_are_no_frames(frame_set: Callable,
                                                tmp_path: Path) -> None:
    """Such files, which macOS adds, are no images."""
    for name in '._img_00001.jpg', '.DS_Store':
        (tmp_path / 'frames' / name).write_text('no picture')
    assert frame_set('frames 9 1')[0]['inputs'].float().std() > 0


def test_pictures_of_any_channels_and_sizes(frame_set: Callable,
                                            tmp_path: Path) -> None:
    """Grey, with alpha, of 16 bits, and of another size than the first."""
    folder = tmp_path / 'frames'
    picture = cv2.imread(str(folder / 'img_00001.jpg'))
    kinds = [picture, picture[..., 0],
             cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA),
             picture.astype(np.uint16) * 256, picture[:40, :50]]
    for number, kind in enumerate(kinds, 1):
        cv2.imwrite(str(folder / f'{number}.png'), kind)
    steps = pipeline('Raw', clip_len=5, frame_interval=1)
    steps[2:2] = [dict(type='Resize', scale=(-1, 32)), dict(type='EdgeMap')]
    data = frame_set('frames 5 1', pipeline=steps, filename_tmpl='{}.png')
    clip = data[0]['inputs'][0]  # (4, T, height, width)
    assert clip.shape == (4, 5, 32, 43)
    for same in 2, 3:  # the picture again
        assert clip[:, same].equal(clip[:, 0])


def test_offsets_of_a_folder(frame_set: Callable) -> None:
    whole = frame_set('frames 9 2', pipeline=pipeline(
        'Raw', clip_len=9, frame_interval=1))
    part = frame_set('frames 4 3 1', with_offset=True, pipeline=pipeline(
        'Raw', clip_len=3, frame_interval=1))
    assert part[0]['inputs'].equal(whole[0]['inputs'][:, :, 4:7])
    with pytest.raises(ClipError, match='"folder offset frames label"'):
        frame_set('frames 9 1', with_offset=True)


def test_frames_that_are_not_there_are_named(frame_set: Callable) -> None:
    data = frame_set('frames 90 1', pipeline=pipeline('Raw', test_mode=True))
    with pytest.raises(ClipError, match='frames: .*RawFrameDecode.*img_000'):
        data[0]


def test_frame_that_is_no_picture_is_named(frame_set: Callable,
                                           tmp_path: Path) -> None:
    np.zeros(9).tofile(tmp_path / 'frames' / 'img_00002.jpg')
    with pytest.raises(
            ClipError, match=r'frames: img_00002\.jpg: .*RawFrameDecode'):
        frame_set(
            'frames 9 1',
            pipeline=pipeline('Raw', clip_len=9, frame_interval=1))[0]
