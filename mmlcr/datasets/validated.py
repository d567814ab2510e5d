# Copyright (c) The mmlcr authors. All rights reserved.
"""Validation of the lists and clips of MMAction2's data sets."""
import contextlib
import logging
import os.path as osp
from functools import cached_property
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from mmcv.transforms import RandomChoice
from mmengine.logging import print_log

from mmlcr.engine.progress import clip_ids
from mmlcr.engine.seeding import SampleSeed
from mmlcr.transforms import VideoInit
from mmlcr.video import SourceError
from .annotations import UNLABELLED, LineParser, read_lines, shorten
from .clip_files import check_file, check_frame_count, check_kind, is_remote
from .errors import ClipError, WorkerTracker
from .flip_labels import ManyHotLabelMap
from .pipelines import (
    find_steps,
    find_transforms,
    frames_needed,
    repeated_frames,
)
from .process_pool import map_isolated

MAX_MESSAGE = 1000  # characters of a decoder's message in an error
OPEN_TIMEOUT = 120.  # seconds to open a clip

_Base: Any = object  # for the type checker: a data set follows the mixin


class ValidatedDataset(_Base):
    """Mixin for a data set of MMAction2 that validates its list and clips.

    When the list is read, every line must have a label in
    ``[0, num_classes)``, and every clip must exist and not be empty. An error
    of the pipeline names the clip at which it occurred.

    The samplers of MMAction2 repeat frames of a clip that is shorter than what
    they sample. The number of such clips is logged once: before training if
    the list or ``open_files`` gives the lengths, else by
    :class:`mmlcr.engine.BadClipsHook` after the first epoch.

    Spaces, tabs or commas separate the fields of a line. The labels come
    last, so that paths may contain spaces. With ``multi_class=True`` a line
    has any number of labels, ``path 1 3 5``, and a sample has a many-hot
    vector of them. A line of a test set may lack the label, as in MMAction2:
    such a clip serves for predictions only.

    Args:
        num_classes (int): Number of classes.
        classes (list[str] | str): Names of the classes, or a file with a
            name in each line; a warning is logged if there is no such file.
            Defaults to none: labels stay numbers.
        check_files (bool): Whether to check that every clip of the list
            exists before training starts. Defaults to True.
        open_files (bool): Whether to open every clip as well and compare its
            length with the sampled length; for small sets. Defaults to
            False.
        bad_clips (str): What to do with a clip of the training set that fails
            in the pipeline. ``'stop'`` raises its error, ``'skip'`` takes the
            next clip of the list in its place and has ``BadClipsHook`` count
            it. Defaults to ``'stop'``.
        short_clips (str): What to do with a clip that is shorter than the
            sampled length. ``'repeat'`` trains and tests on repeats, and
            ``'stop'`` makes it a bad clip. Defaults to ``'repeat'``.
        delimiter (str, optional): What separates the fields of a line.
            Defaults to None: spaces, tabs or commas, whichever fits the line.

    Raises:
        FileNotFoundError: If the list is missing; describes its format.
        ClipError: If a line or a clip is bad.
        ValueError: If an argument is not one of those above, or the number of
            names is not ``num_classes``.
    """
    line_format: str
    keys: Dict[str, str] = {}  # MMAction2's, where a field's name differs
    prefix_key = 'video'
    clip_key = 'filename'
    takes_sample_seeds = True  # from mmlcr.engine.SeededSampler

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
        for step in find_steps(kwargs.get('pipeline', ())):
            if step.get('type') == 'SampleFrames' and 'frame_seconds' in step:
                raise ValueError('SampleFrames has no frame_seconds: that is '
                                 "an argument of type='SampleFramesByTime'")
        self.check_files, self.bad_clips = check_files, bad_clips
        self.short_clips = short_clips
        self.reports_short = True  # clip by clip, for BadClipsHook
        # MMAction2's default, a space, stands for any delimiter
        self.list_delimiter = delimiter if delimiter != ' ' else None
        self.worker_tracker = WorkerTracker()
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
            self._warn(f'there is no {classes} with a class name in each '
                       'line, which "mmlcr prepare" and '
                       '"mmlcr prepare-public" write: classes have numbers '
                       'in place of names, also in the checkpoint')
        # MMAction2's ColorJitter draws an order when it is built, for which
        # the seed of a sample comes too late
        for jitter in find_transforms(self.pipeline, 'fn_idx'):
            jitter.fn_idx = np.arange(len(jitter.fn_idx))
        if self.multi_class:
            for flip in find_transforms(self.pipeline, 'flip_label_map'):
                if flip.flip_label_map is not None:
                    flip.flip_label_map = ManyHotLabelMap(flip.flip_label_map)
        if open_files:
            self._open_all()

    @cached_property
    def clip_ids(self) -> np.ndarray:
        """Identifiers of the clips in a checkpoint, int64, ``(clips, )``.

        They depend on the paths below the folder of all clips, so that this
        folder may move.
        """
        prefix = self.data_prefix[self.prefix_key]
        return clip_ids([
            osp.relpath(self.get_data_info(index)[self.clip_key], prefix)
            for index in range(len(self))
        ])

    @property
    def trusts_headers(self) -> bool:
        """Whether another decoder than this package's reads the videos."""
        return not any(
            isinstance(transform, VideoInit)
            for transform in self.pipeline.transforms)

    def load_data_list(self) -> List[dict]:
        """Read the list, validate its lines and files, skip blank lines."""
        ann_file, prefix = self.ann_file, self.data_prefix[self.prefix_key]
        if not (is_remote(ann_file) or osp.exists(ann_file)):
            raise FileNotFoundError(
                f'no annotation list {ann_file}; expected are that list, '
                f'lines of "{self.line_format}" with labels in '
                f'[0, {self.num_classes}), and the clips in {prefix}; the '
                'docs/datasets.md says how to prepare them')
        parser = LineParser(
            self.line_format,
            self.num_classes,
            multi_class=self.multi_class,
            test_mode=self.test_mode,
            delimiter=self.list_delimiter)
        clips = []
        for number, line in enumerate(read_lines(ann_file), 1):
            if line:
                where = f'{ann_file}, line {number}'
                clips.append(self._read_line(parser, line, where))
        if not clips:
            raise ClipError(f'the annotation list {ann_file} is empty')
        unlabelled = sum(clip['label'] == UNLABELLED for clip in clips)
        if unlabelled:
            self._warn(f'{unlabelled} of {len(clips)} clips have no label: '
                       'metrics mean nothing')
        self._check_listed_lengths(clips)
        return clips

    def prepare_data(self, idx: int, decode_only: bool = False) -> Any:
        """Run the pipeline on a clip; every error has its path.

        If the index is a :class:`mmlcr.engine.SampleSeed`, everything random
        in the pipeline depends on it alone. With ``decode_only``, stop after
        decoding and check every ``RandomChoice`` branch against the clip
        length. The metainfo of a data sample has its ``path``, the clips that
        were ``skipped`` before it, and in which way the clip is ``short``.
        """
        skipped: List[Tuple[str, str]] = []
        for number in range(len(self)):
            index = (idx + number) % len(self) if number else int(idx)
            if isinstance(idx, SampleSeed):
                idx.replaced_by(index).apply()
            clip = self.get_data_info(index)
            path = clip[self.clip_key]
            try:
                with self.worker_tracker.track(index):
                    clip, short = self._run_pipeline(clip, decode_only)
            except ClipError as error:
                if self.bad_clips == 'stop' or decode_only:
                    raise
                skipped.append((path, str(error)))
                continue
            if 'data_samples' in clip:
                clip['data_samples'].set_metainfo(
                    dict(path=path, skipped=skipped,
                         short=short if self.reports_short else ''))
            return clip
        raise ClipError(f'{self.ann_file}: all {len(self)} clips are bad, as '
                        f'{skipped[-1][1]}')

    def _read_line(self, parser: LineParser, line: str, where: str) -> dict:
        """Parse a line to a clip with MMAction2's keys."""
        path, numbers, labels = parser.parse(line, where)
        path = osp.join(self.data_prefix[self.prefix_key], path)
        clip: Dict[str, Any] = {
            self.keys.get(name, name): number
            for name, number in numbers.items()
        }
        if self.multi_class:
            clip['label'] = [label for label in labels if label >= 0]
        else:
            clip['label'] = labels[0] if labels else UNLABELLED
        if self.check_files:
            path = self._find_file(path, line, where)
        clip[self.clip_key] = path
        return clip

    def _run_pipeline(self, clip: dict,
                      decode_only: bool) -> Tuple[Any, str]:
        """Run the pipeline; return its result and why the clip is short."""
        path, short = clip[self.clip_key], ''
        try:
            check_kind(path)
            for transform in self.pipeline.transforms:
                if clip.get('total_frames', 1) < 1:
                    raise ClipError('holds no frame, its number of frames is '
                                    f'{clip["total_frames"]}')
                if decode_only and isinstance(transform, RandomChoice):
                    for choice in transform.transforms:
                        short = short or self._check_length(
                            choice(clip.copy()))
                clip = transform(clip)
                check_frame_count(clip)
                short = short or self._check_length(clip)
                if decode_only and 'imgs' in clip:
                    break
        except ClipError as error:
            raise ClipError(f'{path}: {error}') from error
        except SourceError as error:  # its message names the clip
            raise ClipError(str(error)) from error
        except Exception as error:
            message = ' '.join(str(error).split())  # OpenCV's has line breaks
            raise ClipError(
                f'{path}: {self._failed_frame(clip, transform)}'
                f'{type(error).__name__} in {type(transform).__name__}: '
                f'{message[:MAX_MESSAGE]}') from error
        return clip, short

    def _failed_frame(self, clip: dict, transform: Any) -> str:
        """Return the file at which a transform failed, and a colon."""
        return ''

    def _find_file(self, path: str, line: str, where: str) -> str:
        """Check that a clip exists, and return its path.

        Like MMAction2's decoders, read ``clip.mp4`` for ``clip``.
        """
        if (self.clip_key == 'filename' and not osp.splitext(path)[1]
                and not osp.exists(path) and osp.isfile(f'{path}.mp4')):
            path += '.mp4'
        try:
            check_file(path, where, self.trusts_headers)
        except ClipError as error:
            if osp.exists(path) or len(line.split()) == len(
                    self.line_format.split()):
                raise
            hint = '' if self.multi_class else (
                '; several labels take multi_class=True')
            raise ClipError(
                f'{where}: expected "{self.line_format}", got '
                f'{shorten(line)}: there is no {shorten(path)}; where spaces '
                'separate the fields, the path is all but the numbers at '
                f'the end{hint}') from error
        return path

    def _check_length(self, clip: dict) -> str:
        """Explain why the last sampling repeated frames; empty if it did not.

        Raises:
            ClipError: For such a clip with ``short_clips='stop'``.
        """
        short = repeated_frames(clip)
        if short and self.short_clips == 'stop':
            raise ClipError(short)
        return short

    def _check_listed_lengths(self, clips: List[dict]) -> None:
        """Count the short clips of a list that gives the lengths."""
        samplers = [*find_transforms(self.pipeline, 'clip_len')]
        if not samplers or 'total_frames' not in clips[0]:
            return
        needed = max(
            frames_needed(sampler.clip_len,
                          getattr(sampler, 'frame_interval', None))
            for sampler in samplers)
        short = [clip for clip in clips if 0 < clip['total_frames'] < needed]
        if short and self.short_clips == 'repeat':
            path, frames = short[0][self.clip_key], short[0]['total_frames']
            self._warn_short_clips(
                len(short), len(clips), f'{path} has {frames}, and {needed} '
                'are sampled from')
        self.reports_short = False

    def _open_all(self) -> None:
        """Decode from every clip in a child process, which may crash."""
        print_log(f'opening the {len(self)} clips of {self.ann_file}',
                  'current')
        short_clips: List[str] = []
        with contextlib.closing(
                map_isolated(
                    self._open, len(self), jobs=1,
                    seconds=OPEN_TIMEOUT)) as results:
            for result in results:
                error, short = result.value or ('', '')
                if error:
                    raise ClipError(error)
                path = self.get_data_info(result.task_id)[self.clip_key]
                if result.failure:
                    raise ClipError(f'{path}: {result.failure}')
                if short:
                    short_clips.append(f'{path} {short}')
        if short_clips and self.reports_short:
            self._warn_short_clips(len(short_clips), len(self), short_clips[0])
        self.reports_short = False

    def _open(self, index: int) -> Tuple[str, str]:
        """Return a clip's error and why it is short, or empty strings."""
        try:
            return '', self._run_pipeline(self.get_data_info(index), True)[1]
        except ClipError as error:
            return str(error), ''

    def _warn_short_clips(self, count: int, clips: int, example: str) -> None:
        self._warn(f'{count} of {clips} clips have fewer frames than are '
                   f'sampled from, so that frames are repeated: {example}. '
                   "short_clips='stop' of the data set refuses such clips")

    def _warn(self, text: str) -> None:
        print_log(f'{self.ann_file}: {text}', 'current', logging.WARNING)
