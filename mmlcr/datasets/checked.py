# Copyright (c) The mmlcr authors. All rights reserved.
"""MMAction2's data sets, with bad lists and clips refused by name."""
import contextlib
import os.path as osp
import re
from codecs import BOM_UTF8
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
from mmcv.transforms import RandomChoice
from mmengine.logging import print_log

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.transforms import RawFrameDecode
from mmaction.registry import DATASETS
from mmlcr.engine.draws import Draw
from mmlcr.video import SourceError
from .children import try_each
from .faults import AtWork, ClipError

MOST_DIGITS = 9  # of a number in a list, its sign one of them
LONGEST_SHOWN = 200  # characters of a bad line in an error
LONGEST_SAID = 1000  # of what a decoder says
OPENING_SECONDS = 120.  # that it may take to open a clip

_Base: Any = object  # for the type checker: a data set follows the mixin


class _Checked(_Base):
    """Mixin for a data set of MMAction2.

    When the list is read, every line must have a label in
    ``[0, num_classes)`` and every clip must be there and not be empty; a
    clip that fails in the pipeline later, or is shorter than the pipeline
    samples from, is named.

    Args:
        num_classes (int): Number of classes.
        classes (list[str] | str): Names of the classes, or a file with a
            name a line. Defaults to none: labels stay numbers.
        check_files (bool): Whether to look for every clip of the list before
            training starts. Defaults to True.
        open_files (bool): Whether to open each as well and compare its
            length with the pipeline's; for small sets. Defaults to False.
        bad_clips (str): What becomes of a clip of the training set that fails
            in the pipeline: ``'stop'``, or ``'skip'``: the next one of the
            list takes its place, and :class:`mmlcr.engine.BadClipsHook`
            counts it. Defaults to ``'stop'``.

    Raises:
        FileNotFoundError: If the list is missing; says what is expected.
        ClipError: If a line or a clip is bad.
    """
    line_format: str
    keys: Dict[str, str] = {}  # MMAction2's, where a field's name differs
    prefix_key = 'video'
    clip_key = 'filename'
    takes_draws = True  # of mmlcr.engine.SeededSampler

    def __init__(self,
                 *args: Any,
                 num_classes: int,
                 classes: Any = (),
                 check_files: bool = True,
                 open_files: bool = False,
                 bad_clips: str = 'stop',
                 **kwargs: Any) -> None:
        if bad_clips not in ('stop', 'skip'):
            raise ValueError("bad_clips must be 'stop' or 'skip', got "
                             f'{bad_clips!r}')
        if bad_clips == 'skip' and kwargs.get('test_mode'):
            raise ValueError('clips of a test set are not skipped: another '
                             'one would count twice')
        self.check_files, self.bad_clips = check_files, bad_clips
        self.at_work = AtWork()
        names = classes
        if isinstance(classes, str):
            names = read_lines(classes) if osp.exists(classes) else ()
        if names and len(names) != num_classes:
            where = f' in {classes}' if isinstance(classes, str) else ''
            raise ValueError(f'{len(names)} class names for '
                             f'num_classes={num_classes}{where}')
        metainfo = dict(classes=tuple(names)) if names else None
        super().__init__(
            *args, num_classes=num_classes, metainfo=metainfo, **kwargs)
        if isinstance(classes, str) and not osp.exists(classes):
            raise FileNotFoundError(
                f'no class names: there is no {classes}, a name a line, which '
                'tools/prepare_dataset.py and tools/prepare_public.py write')
        if open_files:
            self._open_all()

    def load_data_list(self) -> List[dict]:
        """Read the list and check its lines and files; skip blank lines."""
        ann_file, prefix = self.ann_file, self.data_prefix[self.prefix_key]
        if not osp.exists(ann_file):
            raise FileNotFoundError(
                f'no annotation list {ann_file}; expected are that list, '
                f'lines of "{self.line_format}" with labels in '
                f'[0, {self.num_classes}), and the clips in {prefix}; the '
                "README's section on data says how to prepare them")
        clips = []
        for number, line in enumerate(read_lines(ann_file), 1):
            if not line:
                continue
            where = f'{ann_file}, line {number}'
            clip = self._parse(line, where)
            clip[self.clip_key] = osp.join(prefix, clip[self.clip_key])
            if self.check_files:
                check_file(clip[self.clip_key], where)
            clips.append(clip)
        if not clips:
            raise ClipError(f'the annotation list {ann_file} is empty')
        return clips

    def prepare_data(self,
                     idx: Union[int, Draw],
                     decode_only: bool = False) -> Any:
        """Run the pipeline on a clip; its path is in every error.

        What it draws at random depends on the draw alone, if it is given one.
        With ``decode_only``, to the first frames, and whatever a
        ``RandomChoice`` may sample before them must fit the clip. Data samples
        hold the ``path``, and what was ``skipped`` before it.
        """
        draw, first = (idx, idx.sample) if isinstance(
            idx, Draw) else (None, idx)
        skipped: List[Tuple[str, str]] = []
        for number in range(len(self)):
            at = (first + number) % len(self) if number else first
            if draw:
                draw._replace(sample=at).begin()
            clip = self.get_data_info(at)
            path = clip[self.clip_key]
            try:
                with self.at_work.on(at):
                    clip = self._run_pipeline(clip, decode_only)
            except ClipError as error:
                if self.bad_clips == 'stop' or decode_only:
                    raise
                skipped.append((path, str(error)))
                continue
            if 'data_samples' in clip:
                clip['data_samples'].set_metainfo(
                    dict(path=path, skipped=skipped))
            return clip
        raise ClipError(f'{self.ann_file}: all {len(self)} clips are bad, as '
                        f'{skipped[-1][1]}')

    def _run_pipeline(self, clip: dict, decode_only: bool) -> Any:
        path = clip[self.clip_key]
        try:
            _check_kind(path)
            for transform in self.pipeline.transforms:
                if decode_only and isinstance(transform, RandomChoice):
                    for choice in transform.transforms:
                        self._check_length(choice(clip.copy()))
                clip = transform(clip)
                self._check_claim(clip)
                self._check_length(clip)
                if decode_only and 'imgs' in clip:
                    break
        except ClipError as error:
            raise ClipError(f'{path}: {error}') from error
        except SourceError as error:  # names the clip
            raise ClipError(str(error)) from error
        except Exception as error:
            said = ' '.join(str(error).split())  # OpenCV's has several lines
            raise ClipError(
                f'{path}: {self._culprit(clip, transform)}'
                f'{type(error).__name__} in {type(transform).__name__}: '
                f'{said[:LONGEST_SAID]}') from error
        return clip

    def _culprit(self, clip: dict, transform: Any) -> str:
        """The file inside of a clip at which a transform failed."""
        return ''

    def _parse(self, line: str, where: str) -> dict:
        """The fields of a line, by MMAction2's names."""
        fields = line.split(getattr(self, 'delimiter', None))
        names = self.line_format.split()
        if len(fields) != len(names):
            raise ClipError(f'{where}: expected "{self.line_format}", got '
                            f'{_shown(line)}')
        clip: dict = {self.clip_key: fields[0]}
        for name, value in zip(names[1:], fields[1:]):
            if not re.fullmatch('-?[0-9]+', value):
                raise ClipError(f'{where}: {name} must be a whole number, '
                                f'got {_shown(value)}')
            if len(value) > MOST_DIGITS:
                raise ClipError(f'{where}: {name} has more than {MOST_DIGITS} '
                                f'characters: {_shown(value)}')
            clip[self.keys.get(name, name)] = int(value)
        if not 0 <= clip['label'] < self.num_classes:
            raise ClipError(f'{where}: the label must be in '
                            f'[0, {self.num_classes}), got {clip["label"]}')
        return clip

    @staticmethod
    def _check_claim(clip: dict) -> None:
        """Refuse a video whose header alone has so many frames.

        OpenCV would read on up to the last of them.
        """
        if 'filename' not in clip or 'frame_inds' in clip:
            return
        claimed, path = clip.get('total_frames', 0), clip['filename']
        if osp.isfile(path) and claimed > osp.getsize(path):
            raise ClipError(f'says it has {claimed} frames, in '
                            f'{osp.getsize(path)} bytes')

    @staticmethod
    def _check_length(clip: dict) -> None:
        """Refuse a clip that the sampling just done had to stretch."""
        if 'frame_inds' not in clip or 'imgs' in clip:
            return
        interval = clip['frame_interval']
        if interval is None:  # uniform sampling
            interval = 1
        needed = (clip['clip_len'] - 1) * interval + 1
        if clip['total_frames'] < needed:
            raise ClipError(
                f'has {clip["total_frames"]} frames, and {clip["clip_len"]} '
                f'frames with an interval of {interval} need {needed}')

    def _open_all(self) -> None:
        """Sample and decode from every clip, so that bad ones come first.

        In a child process, which a decoder may take along.
        """
        print_log(f'opening the {len(self)} clips of {self.ann_file}',
                  'current')
        with contextlib.closing(
                try_each(
                    self._fault_of, len(self), jobs=1,
                    seconds=OPENING_SECONDS)) as outcomes:
            for outcome in outcomes:
                if outcome.result:
                    raise ClipError(outcome.result)
                if outcome.fault:
                    path = self.get_data_info(outcome.number)[self.clip_key]
                    raise ClipError(f'{path}: {outcome.fault}')

    def _fault_of(self, idx: int) -> Optional[str]:
        """What is wrong with a clip, in words."""
        try:
            self.prepare_data(idx, decode_only=True)
        except ClipError as error:
            return str(error)
        return None


@DATASETS.register_module()
class CheckedVideoDataset(_Checked, VideoDataset):
    """:class:`mmaction.datasets.VideoDataset` that names what is bad.

    Lines are ``path label``. Arguments are those of ``VideoDataset`` and of
    :class:`_Checked`.
    """
    line_format = 'path label'


@DATASETS.register_module()
class CheckedRawframeDataset(_Checked, RawframeDataset):
    """:class:`mmaction.datasets.RawframeDataset` that names what is bad.

    Lines are ``folder frames label``. Arguments are those of
    ``RawframeDataset`` and of :class:`_Checked`.
    """
    prefix_key = 'img'
    clip_key = 'frame_dir'
    line_format = 'folder frames label'
    keys = dict(frames='total_frames')

    def _culprit(self, clip: dict, transform: Any) -> str:
        """The first frame that can't be decoded alone."""
        if not isinstance(transform, RawFrameDecode):
            return ''
        for index in np.unique(clip['frame_inds']):
            try:
                transform({**clip, 'frame_inds': np.array([index])})
            except Exception:
                number = index + clip.get('offset', 0)
                return clip['filename_tmpl'].format(number) + ': '
        return ''


def read_lines(path: str) -> List[str]:
    """The lines of a text file in UTF-8, the blank ones at its end left out.

    Raises:
        ClipError: If it can't be read; names the first line that is not text.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise ClipError(f'{path} can not be read: {error.strerror}') from error
    lines = []
    data = data[len(BOM_UTF8):] if data.startswith(BOM_UTF8) else data
    for number, line in enumerate(re.split(b'\r\n?|\n', data), 1):
        try:
            lines.append(line.decode().strip())
        except UnicodeDecodeError as error:
            raise ClipError(
                f'{path}, line {number}: not UTF-8 at byte {error.start + 1} '
                f'of the line: {error.reason}') from error
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def _shown(text: str) -> str:
    """A text in an error, of a length that can be read."""
    if len(text) > LONGEST_SHOWN:
        return f'{text[:LONGEST_SHOWN]!r}... of {len(text)} characters'
    return repr(text)


def _check_kind(path: str) -> None:
    """Refuse what a decoder would wait for or never come to the end of."""
    if osp.exists(path) and not osp.isfile(path) and not osp.isdir(path):
        raise ClipError('neither a file nor a folder')


def check_file(path: str, where: str) -> None:
    """Look for a clip without decoding it.

    Args:
        path (str): Video, or folder of frames.
        where (str): What an error begins with.

    Raises:
        ClipError: If it is missing, empty, can't be read or is an AVI that
            was cut off.
    """
    if not osp.exists(path):
        raise ClipError(f'{where}: there is no {_shown(path)}')
    if osp.isdir(path):
        return
    if not osp.isfile(path):
        raise ClipError(f'{where}: {path} is neither a file nor a folder')
    size = osp.getsize(path)
    if not size:
        raise ClipError(f'{where}: {path} is empty')
    try:
        with open(path, 'rb') as file:
            head = file.read(8)
    except OSError as error:
        raise ClipError(f'{where}: {path}: {error.strerror}') from error
    # decord crashes on an AVI that was cut off, but its header tells
    if head[:4] == b'RIFF' and size < 8 + int.from_bytes(head[4:], 'little'):
        raise ClipError(f'{where}: {path} is cut off at {size} bytes')
