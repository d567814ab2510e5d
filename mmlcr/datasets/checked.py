# Copyright (c) The mmlcr authors. All rights reserved.
"""MMAction2's data sets, with bad lists and clips refused by name."""
import contextlib
import logging
import os.path as osp
import re
from codecs import BOM_UTF8
from functools import cached_property
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

import numpy as np
from mmcv.transforms import RandomChoice
from mmengine.fileio import get
from mmengine.logging import print_log

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.transforms import RawFrameDecode
from mmaction.registry import DATASETS
from mmlcr.engine.draws import Draw
from mmlcr.engine.progress import clip_ids
from mmlcr.transforms import VideoInit
from mmlcr.video import SourceError
from .children import try_each
from .faults import AtWork, ClipError
from .mirrored import ManyHotLabelMap

MOST_DIGITS = 9  # of a number in a list, without leading zeros
UNLABELLED = -1  # as in MMAction2
NUMBER = re.compile('[+-]?[0-9]+')
LONGEST_SHOWN = 200  # characters of a bad line in an error
LONGEST_SAID = 1000  # of what a decoder says
NO_SIZE = 0, 2**32 - 1  # of an AVI whose writer could not go back
OPENING_SECONDS = 120.  # that it may take to open a clip

_Base: Any = object  # for the type checker: a data set follows the mixin


class _Checked(_Base):
    """Mixin for a data set of MMAction2.

    When the list is read, every line must have a label in
    ``[0, num_classes)`` and every clip must be there and not be empty; a
    clip that fails in the pipeline later is named. The samplers of MMAction2
    repeat frames of a clip that is shorter than what they sample. The number
    of such clips is logged once: before training where the list or
    ``open_files`` gives the lengths, else by
    :class:`mmlcr.engine.BadClipsHook` after the first epoch.

    The fields of a line are divided by spaces, tabs or commas. The labels come
    last, so that paths may have spaces. With ``multi_class=True`` a line has
    any number of labels, ``path 1 3 5``, and a sample has a many-hot vector of
    them. A test set's line may lack the label, as in MMAction2: predictions
    are all that such a clip is good for.

    Args:
        num_classes (int): Number of classes.
        classes (list[str] | str): Names of the classes, or a file with a
            name a line; without the file there is a warning. Defaults to none:
            labels stay numbers.
        check_files (bool): Whether to look for every clip of the list before
            training starts. Defaults to True.
        open_files (bool): Whether to open each as well and compare its
            length with the pipeline's; for small sets. Defaults to False.
        bad_clips (str): What becomes of a clip of the training set that fails
            in the pipeline: ``'stop'``, or ``'skip'``: the next one of the
            list takes its place, and :class:`mmlcr.engine.BadClipsHook`
            counts it. Defaults to ``'stop'``.
        short_clips (str): ``'repeat'`` trains and tests on repeated frames of
            a clip that is shorter than what is sampled, ``'stop'`` makes it a
            bad clip. Defaults to ``'repeat'``.
        delimiter (str, optional): What divides the fields of a line. Defaults
            to None: spaces, tabs or commas, whichever fits the line.

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
                 short_clips: str = 'repeat',
                 delimiter: Optional[str] = None,
                 **kwargs: Any) -> None:
        if short_clips not in ('repeat', 'stop'):
            raise ValueError("short_clips must be 'repeat' or 'stop', got "
                             f'{short_clips!r}')
        if bad_clips not in ('stop', 'skip'):
            raise ValueError("bad_clips must be 'stop' or 'skip', got "
                             f'{bad_clips!r}')
        if bad_clips == 'skip' and kwargs.get('test_mode'):
            raise ValueError('clips of a test set are not skipped: another '
                             'one would count twice')
        for step in _find_steps(kwargs.get('pipeline', ())):
            if step.get('type') == 'SampleFrames' and 'frame_seconds' in step:
                raise ValueError('SampleFrames does not know frame_seconds: '
                                 "that is type='SampleFramesByTime'")
        self.check_files, self.bad_clips = check_files, bad_clips
        self.short_clips = short_clips
        self.tell_short = True  # clip by clip, to BadClipsHook
        # MMAction2's default, a space, stands for any delimiter
        self.list_delimiter = delimiter if delimiter != ' ' else None
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
        if isinstance(classes, str) and not names:
            self._warn(f'there is no {classes}, a name a line, which tools/'
                       'prepare_dataset.py and tools/prepare_public.py write: '
                       'classes have numbers in place of names, also in the '
                       'checkpoint')
        if self.multi_class:
            for flip in _find_transforms(self.pipeline, 'flip_label_map'):
                if flip.flip_label_map is not None:
                    flip.flip_label_map = ManyHotLabelMap(flip.flip_label_map)
        if open_files:
            self._open_all()

    @cached_property
    def clip_ids(self) -> np.ndarray:
        """What clips are known by in a checkpoint, int64, ``(clips, )``.

        Of their paths below the folder of all clips, which may have moved.
        """
        prefix = self.data_prefix[self.prefix_key]
        return clip_ids([
            osp.relpath(self.get_data_info(number)[self.clip_key], prefix)
            for number in range(len(self))
        ])

    def load_data_list(self) -> List[dict]:
        """Read the list and check its lines and files; skip blank lines."""
        ann_file, prefix = self.ann_file, self.data_prefix[self.prefix_key]
        if not (_is_remote(ann_file) or osp.exists(ann_file)):
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
            path = osp.join(prefix, clip[self.clip_key])
            if self.check_files:
                path = self._find(path, line, where)
            clips.append({**clip, self.clip_key: path})
        if not clips:
            raise ClipError(f'the annotation list {ann_file} is empty')
        unlabelled = sum(clip['label'] == UNLABELLED for clip in clips)
        if unlabelled:
            self._warn(f'{unlabelled} of {len(clips)} clips have no label: '
                       'what is measured with them says nothing')
        self._check_lengths_of_list(clips)
        return clips

    def prepare_data(self,
                     idx: Union[int, Draw],
                     decode_only: bool = False) -> Any:
        """Run the pipeline on a clip; its path is in every error.

        What it draws at random depends on the draw alone, if it is given one.
        With ``decode_only``, stop after decoding and check every
        ``RandomChoice`` branch against the length of the clip. Data samples
        hold the ``path``, what was ``skipped`` before it, and in which way the
        clip is ``short``.
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
                    clip, short = self._run_pipeline(clip, decode_only)
            except ClipError as error:
                if self.bad_clips == 'stop' or decode_only:
                    raise
                skipped.append((path, str(error)))
                continue
            if 'data_samples' in clip:
                clip['data_samples'].set_metainfo(
                    dict(path=path, skipped=skipped,
                         short=short if self.tell_short else ''))
            return clip
        raise ClipError(f'{self.ann_file}: all {len(self)} clips are bad, as '
                        f'{skipped[-1][1]}')

    def _run_pipeline(self, clip: dict,
                      decode_only: bool) -> Tuple[Any, str]:
        """What the pipeline makes of a clip, and why the clip is short."""
        path, short = clip[self.clip_key], ''
        try:
            _check_kind(path)
            for transform in self.pipeline.transforms:
                if clip.get('total_frames', 1) < 1:
                    raise ClipError('holds no frame, its number of frames is '
                                    f'{clip["total_frames"]}')
                if decode_only and isinstance(transform, RandomChoice):
                    for choice in transform.transforms:
                        short = short or self._check_length(
                            choice(clip.copy()))
                clip = transform(clip)
                self._check_claim(clip)
                short = short or self._check_length(clip)
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
        return clip, short

    def _culprit(self, clip: dict, transform: Any) -> str:
        """The file inside of a clip at which a transform failed."""
        return ''

    def _parse(self, line: str, where: str) -> dict:
        """The fields of a line, by MMAction2's names."""
        names = self.line_format.split()[1:]
        path, values = self._split(line, names, where)
        numbers = []
        for name, value in zip([*names, *['label'] * len(values)], values):
            if len(value.lstrip('+-0')) > MOST_DIGITS:
                raise ClipError(f'{where}: {name} has more than {MOST_DIGITS} '
                                f'digits: {_shown(value)}')
            numbers.append(int(value))
        clip: dict = {self.clip_key: path}
        for name, number in zip(names[:-1], numbers):
            clip[self.keys.get(name, name)] = number
        labels = numbers[len(names) - 1:]
        for label in labels:
            if label == UNLABELLED and self.test_mode:
                continue
            if not 0 <= label < self.num_classes:
                raise ClipError(f'{where}: the label must be in '
                                f'[0, {self.num_classes}), got {label}')
        if self.multi_class:
            clip['label'] = [label for label in labels if label >= 0]
        else:
            clip['label'] = labels[0] if labels else UNLABELLED
        return clip

    def _split(self, line: str, names: List[str],
               where: str) -> Tuple[str, List[str]]:
        """The path of a line, and the whole numbers after it.

        Args:
            line (str): Of the list.
            names (list[str]): Of the numbers, the label's last.
            where (str): What an error begins with.

        Raises:
            ClipError: If it has too few fields, or one that is no number.
        """
        delimiter, count = self.list_delimiter, len(names)
        # several labels may be none, a clip in which no class happens
        fewest, most = (count - 1, len(line)) if self.multi_class else (
            count, count)
        for each in (delimiter, ) if delimiter else ('\t', ',', None):
            guessed = each is not None and not delimiter
            found = _cut(line, each, max(fewest, guessed), most)
            if found:
                return found
        if self.test_mode and len(line.split(delimiter)) == count:
            found = _cut(line, delimiter, count - 1, count - 1)
            if found:
                return found
        fields = line.rsplit(delimiter, count)
        for name, value in zip(names, fields[1:] * (len(fields) > count)):
            if not NUMBER.fullmatch(value.strip()):
                raise ClipError(f'{where}: {name} must be a whole number, '
                                f'got {_shown(value)}')
        divided = 'spaces, tabs or commas' if not delimiter else repr(
            delimiter)
        raise ClipError(
            f'{where}: expected "{self.line_format}", got {_shown(line)}; the '
            f'fields are divided by {divided}, and the data set takes another '
            "delimiter as an argument, such as delimiter=';'")

    @property
    def believes_headers(self) -> bool:
        """Whether videos are read by another decoder than ours."""
        return not any(
            isinstance(transform, VideoInit)
            for transform in self.pipeline.transforms)

    def _find(self, path: str, line: str, where: str) -> str:
        """The path of a clip that is there.

        MMAction2's decoders take ``clip`` for ``clip.mp4``.
        """
        is_there = osp.splitext(path)[1] or osp.exists(path)
        if self.clip_key == 'filename' and not is_there and osp.isfile(
                f'{path}.mp4'):
            path += '.mp4'
        try:
            check_file(path, where, self.believes_headers)
        except ClipError as error:
            if osp.exists(path) or len(line.split()) == len(
                    self.line_format.split()):
                raise
            several = '' if self.multi_class else (
                '; several labels take multi_class=True')
            raise ClipError(
                f'{where}: expected "{self.line_format}", got '
                f'{_shown(line)}: there is no {_shown(path)}; of fields that '
                'are divided by spaces the path is all but the numbers at '
                f'the end{several}') from error
        return path

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

    def _check_length(self, clip: dict) -> str:
        """Why the sampling just done had to repeat frames, if it had to.

        Raises:
            ClipError: For such a clip with ``short_clips='stop'``.
        """
        if 'frame_inds' not in clip or 'imgs' in clip:
            return ''
        length, interval = clip['clip_len'], clip['frame_interval']
        needed = frames_needed(length, interval)
        found = clip['total_frames']
        short = (f'has {found} frames, and {length} frames with an interval '
                 f'of {1 if interval is None else interval} need {needed}')
        if 'num_due' in clip:
            found, needed = clip['num_due'], length
            short = f'has {found} of the {length} frames sampled by time'
        if found >= needed:
            return ''
        if self.short_clips == 'stop':
            raise ClipError(short)
        return short

    def _check_lengths_of_list(self, clips: List[dict]) -> None:
        """Count the short clips of a list that gives the lengths."""
        samplers = [*_find_transforms(self.pipeline, 'clip_len')]
        if not samplers or 'total_frames' not in clips[0]:
            return
        needed = max(
            frames_needed(each.clip_len, getattr(each, 'frame_interval', None))
            for each in samplers)
        short = [clip for clip in clips if 0 < clip['total_frames'] < needed]
        if short and self.short_clips == 'repeat':
            self._warn_of_short(
                len(short), len(clips), f'{short[0][self.clip_key]} has '
                f'{short[0]["total_frames"]}, and {needed} are sampled from')
        self.tell_short = False

    def _open_all(self) -> None:
        """Sample and decode from every clip, so that bad ones come first.

        In a child process, which a decoder may take along.
        """
        print_log(f'opening the {len(self)} clips of {self.ann_file}',
                  'current')
        shorts: List[str] = []
        with contextlib.closing(
                try_each(
                    self._open, len(self), jobs=1,
                    seconds=OPENING_SECONDS)) as outcomes:
            for outcome in outcomes:
                fault, short = outcome.result or ('', '')
                if fault:
                    raise ClipError(fault)
                path = self.get_data_info(outcome.number)[self.clip_key]
                if outcome.fault:
                    raise ClipError(f'{path}: {outcome.fault}')
                shorts += [f'{path} {short}'] if short else []
        if shorts and self.tell_short:
            self._warn_of_short(len(shorts), len(self), shorts[0])
        self.tell_short = False

    def _open(self, idx: int) -> Tuple[str, str]:
        """What is wrong with a clip, and why it is short, in words."""
        try:
            return '', self._run_pipeline(self.get_data_info(idx), True)[1]
        except ClipError as error:
            return str(error), ''

    def _warn_of_short(self, count: int, clips: int, example: str) -> None:
        self._warn(f'{count} of {clips} clips have fewer frames than are '
                   f'sampled from, so that frames are repeated: {example}. '
                   "short_clips='stop' of the data set refuses such clips")

    def _warn(self, text: str) -> None:
        print_log(f'{self.ann_file}: {text}', 'current', logging.WARNING)


@DATASETS.register_module()
class CheckedVideoDataset(_Checked, VideoDataset):
    """:class:`mmaction.datasets.VideoDataset` that names what is bad.

    Lines are ``path label``, or ``path`` and labels with
    ``multi_class=True``. Arguments are those of ``VideoDataset`` and of
    :class:`_Checked`.
    """
    line_format = 'path label'


@DATASETS.register_module()
class CheckedRawframeDataset(_Checked, RawframeDataset):
    """:class:`mmaction.datasets.RawframeDataset` that names what is bad.

    Lines are ``folder frames label``, with ``with_offset=True``
    ``folder offset frames label``. Arguments are those of
    ``RawframeDataset`` and of :class:`_Checked`.
    """
    prefix_key = 'img'
    clip_key = 'frame_dir'
    keys = dict(frames='total_frames')

    @property
    def line_format(self) -> str:  # type: ignore[override]
        """The fields of a line."""
        offset = 'offset ' if self.with_offset else ''
        return f'folder {offset}frames label'

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
        data = get(path)  # also of a remote storage
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


def frames_needed(clip_len: int, frame_interval: Optional[float]) -> int:
    """Frames of a clip of which a sampler repeats none.

    Args:
        clip_len (int): Frames that are sampled.
        frame_interval (float, optional): Their distance in frames; None for
            uniform sampling.
    """
    interval = 1 if frame_interval is None else frame_interval
    return round((clip_len - 1) * interval) + 1


def _find_transforms(pipeline: Any, attribute: str) -> Iterator[Any]:
    """Transforms with an attribute, also inside of ``RandomChoice``, say."""
    for transform in getattr(pipeline, 'transforms', ()):
        if hasattr(transform, attribute):
            yield transform
        yield from _find_transforms(transform, attribute)


def _find_steps(config: Any) -> Iterator[dict]:
    """The steps of a pipeline's config, also those inside of others."""
    if isinstance(config, dict):
        yield config
        config = [*config.values()]
    if isinstance(config, (list, tuple)):
        for each in config:
            yield from _find_steps(each)


def _cut(line: str, delimiter: Optional[str], fewest: int,
         most: int) -> Optional[Tuple[str, List[str]]]:
    """The path of a line and the numbers at its end; None if they don't fit.

    Numbers may be divided by spaces, too.
    """
    fields, numbers = line.split(delimiter), []  # type: ignore[var-annotated]
    cuts = 0
    while cuts < len(fields) - 1 and len(numbers) < most:
        words = fields[-1 - cuts].split()
        if not words or not all(map(NUMBER.fullmatch, words)):
            break
        numbers[:0] = words
        cuts += 1
    path = line.rsplit(delimiter, cuts)[0].strip() if cuts else line
    return (path, numbers) if path and fewest <= len(numbers) <= most else None


def _is_remote(path: str) -> bool:
    """Whether a backend of MMEngine reads it, as ``s3://`` paths."""
    return '://' in path


def _shown(text: str) -> str:
    """A text in an error, of a length that can be read."""
    if len(text) > LONGEST_SHOWN:
        return f'{text[:LONGEST_SHOWN]!r}... of {len(text)} characters'
    return repr(text)


def _check_kind(path: str) -> None:
    """Refuse what a decoder would wait for or never come to the end of."""
    if osp.exists(path) and not osp.isfile(path) and not osp.isdir(path):
        raise ClipError('neither a file nor a folder')


def check_file(path: str, where: str, believes_headers: bool = False) -> None:
    """Look for a clip without decoding it.

    Args:
        path (str): Video, or folder of frames. Paths of a remote storage are
            not looked for.
        where (str): What an error begins with.
        believes_headers (bool): Whether a decoder of MMAction2 will read it:
            decord crashes on an AVI that was cut off, or does not tell its
            size, and OpenCV repeats its last frame. Defaults to False.

    Raises:
        ClipError: If it is missing, empty, can't be read, or such an AVI.
    """
    if _is_remote(path):
        return
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
    if not believes_headers or head[:4] != b'RIFF':
        return
    claimed = int.from_bytes(head[4:], 'little')
    if claimed in NO_SIZE:
        raise ClipError(f'{where}: {path} is an AVI that does not tell its '
                        'size, as one written to a pipe, and decord crashes '
                        'on it; VideoInit and VideoDecode read it, and '
                        '"ffmpeg -i OLD -c copy NEW" mends it')
    if size < 8 + claimed:
        raise ClipError(f'{where}: {path} is cut off at {size} bytes')
