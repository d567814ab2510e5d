# Copyright (c) The mmlcr authors. All rights reserved.
"""Choose sizes, rates and epochs for some clips, and write their config.

All other settings are those of ``configs/lcr_weizmann.py``, whose accuracy was
measured.
"""
import math
import os.path as osp
from statistics import median
from typing import Dict, List, NamedTuple, Sequence, Tuple

from mmlcr.datasets import (
    Clip,
    ClipError,
    check_file,
    frames_needed,
    mirrored_labels,
    without_mirrored,
)
from mmlcr.datasets.clips import MAX_NAMES, shortened
from mmlcr.video import SourceError, VideoReader

# settings of configs/lcr_weizmann.py
CLIP_LEN, RATE, AREA, CROP = 8, 25 / 3, 80 * 64, 1.25
START = 'mmlcr://lcr_people'
STEPS, SCRATCH_STEPS, BATCH = 400, 1600, 15
FEWEST_EPOCHS = 30
CACHE = 2.  # GiB of decoded frames, the data set's default limit
MANY = 1000  # clips, beyond which files are not opened before each training
MIXED = 1.1  # ratio of the highest to the lowest rate, to sample by time
PIPELINES = """
train_pipeline = [
    dict(type='VideoInit'), sample,
    dict(type='VideoDecode'), random_crop, resize, flip, _base_.color_jitter,
    dict(type='EdgeMap'), tube_mask,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('tube_mask', ))
]
test_pipeline = [
    dict(type='VideoInit'), sample_test,
    dict(type='VideoDecode'), resize_test, center_crop,
    dict(type='EdgeMap'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]"""
SPEEDS = 2 / 3, 1, 4 / 3  # of motion in training, when sampled by time


class VideoFacts(NamedTuple):
    """Properties of a clip's file."""
    frames: int
    fps: float
    width: int
    height: int


class Recipe(NamedTuple):
    """Settings of the config that follow from the clips."""
    fps: float  # of the clips
    interval: float  # between two sampled frames
    intervals: Tuple[float, ...]  # in training
    by_time: bool  # whether intervals are seconds, not frames
    width: int
    height: int
    aspects: Tuple[float, float]  # of the crops in training
    epochs: int  # of training from START
    scratch_epochs: int  # of training from scratch
    gib: float  # of the decoded frames of all clips


def probe_videos(folder: str, clips: Sequence[Clip]) -> Dict[str, VideoFacts]:
    """Read the properties of each clip's file, by its path.

    Raises:
        ValueError: If a file is missing, empty, or does not open.
    """
    facts, bad = {}, []
    for clip in clips:
        path = osp.join(folder, clip.path)
        try:
            check_file(path, clip.path)
            with VideoReader(path) as video:  # the reader of trainings
                facts[clip.path] = VideoFacts(
                    len(video), video.fps, *video.size)
        except (ClipError, SourceError) as error:
            bad.append(str(error))
    if bad:
        raise ValueError(f'{len(bad)} of {len(clips)} clips are bad: '
                         f'{"; ".join(bad[:MAX_NAMES])}')
    return facts


def suggest_settings(facts: Dict[str, VideoFacts], clips: int) -> Recipe:
    """Choose sizes and rates for the clips.

    Sampled frames a second and pixels a frame are those of the measured
    config; the longest sample fits into nine of ten clips. Clips of different
    rates are sampled by time.

    Args:
        facts (dict[str, VideoFacts]): Properties of all clips.
        clips (int): Number of clips to train on.

    Returns:
        Recipe: The settings.
    """
    rates = [clip.fps for clip in facts.values()]
    fps, by_time = median(rates), max(rates) > MIXED * min(rates)
    interval: float
    intervals: Tuple[float, ...]
    if by_time:
        shortest = 1 / _tenth(rates)
        longest = _tenth([(clip.frames - 1) / clip.fps
                          for clip in facts.values()]) / (CLIP_LEN - 1)
        interval = round(max(shortest, min(1 / RATE, longest)), 4)
        intervals = tuple(
            round(interval * speed, 4) for speed in SPEEDS if speed == 1
            or shortest <= interval * speed <= longest)
    else:
        frames = int(_tenth([clip.frames for clip in facts.values()]))
        most = max(1, (frames - 1) // (CLIP_LEN - 1))
        interval = min(max(1, round(fps / RATE)), most)
        intervals = tuple(
            each for each in range(int(interval) - 1, int(interval) + 2)
            if 1 <= each <= most)
    aspect = median(clip.width / clip.height for clip in facts.values())
    width, height = (8 * max(4, round(math.sqrt(AREA * ratio) / 8))
                     for ratio in (aspect, 1 / aspect))
    aspect = width / height
    epochs, scratch_epochs = (
        max(FEWEST_EPOCHS, round(steps / math.ceil(clips / BATCH)))
        for steps in (STEPS, SCRATCH_STEPS))
    return Recipe(fps, interval, intervals, by_time, width, height,
                  (round(aspect / 1.2, 2), round(aspect * 1.2, 2)),
                  epochs, scratch_epochs,
                  sum(clip.frames * clip.width * clip.height * 3
                      for clip in facts.values()) / 2**30)


def _tenth(values: Sequence[float]) -> float:
    """Return a value that nine of ten values reach."""
    return sorted(values)[len(values) // 10]


def describe_sampling(facts: Dict[str, VideoFacts],
                      recipe: Recipe) -> List[str]:
    """Return lines that tell how frames are sampled, and warnings."""
    shortest = min(facts, key=lambda path: facts[path].frames)
    lines = [f'frames: the shortest clip, {shortest}, has '
             f'{facts[shortest].frames}; {CLIP_LEN} are sampled, '
             f'{recipe.interval:g} apart, at {recipe.fps:g} frames a second']
    if recipe.by_time:
        rates = [clip.fps for clip in facts.values()]
        lines = [f'frames: rates differ, from {min(rates):g} to '
                 f'{max(rates):g} a second, so frames are sampled by time: '
                 f'{CLIP_LEN}, {recipe.interval:g} seconds apart']
        slow = [path for path, clip in facts.items()
                if clip.fps * recipe.interval < 0.99]
        if slow:
            lines.append(f'warning: {len(slow)} clips have fewer frames a '
                         'second than are sampled, so that they seem faster: '
                         f'{shortened(slow)}')
    short = [
        f'{path} has {clip.frames}' for path, clip in facts.items()
        if clip.frames < frames_needed(
            CLIP_LEN, max(1, recipe.interval *
                          (clip.fps if recipe.by_time else 1)))
    ]
    if short:
        lines.append(f'warning: {len(short)} of {len(facts)} clips have too '
                     'few frames, so that frames are repeated: '
                     f'{shortened(short)}')
    if recipe.gib > CACHE:
        lines.append(f'frames of all clips take {recipe.gib:.1f} GiB, too '
                     'many to keep them in memory: clips are decoded in every '
                     'epoch')
    return lines


def flip(classes: Sequence[str]) -> Tuple[str, str]:
    """Decide on mirrored pictures by the names of the classes.

    Returns:
        tuple[str, str]: A line of the config, and one that explains it.
    """
    pairs, alone = mirrored_labels(classes), without_mirrored(classes)
    if alone:
        return (f'flip = dict(_base_.flip, flip_ratio=0)  # {alone[0]} has no '
                'partner',
                'flip: off, as these classes have no mirrored partner: '
                f'{shortened(alone)}')
    if pairs:
        names = ', '.join(f'{classes[a]} - {classes[b]}'
                          for a, b in pairs.items() if a < b)
        return (f'flip = dict(_base_.flip, flip_label_map={pairs})',
                f'flip: mirrored clips change their labels, {names}')
    return ('flip = dict(_base_.flip, flip_ratio=0.5)  # 0 where a mirror '
            'changes the class',
            'flip: half of the training clips are mirrored and keep their '
            'labels; set flip_ratio to 0 in the config if mirroring changes '
            'their class')


def metric_name(several: bool) -> str:
    """Return the metric for clips with one or with several labels."""
    return 'acc/mean_average_precision' if several else 'acc/top1'


def config_text(recipe: Recipe, classes: Sequence[str], folds: bool,
                val: bool, clips: int, spaces: bool, several: bool) -> str:
    """Write the config, with what differs from that of Weizmann.

    Args:
        recipe (Recipe): Settings for the clips.
        classes (Sequence[str]): Class names, in the order of the labels.
        folds (bool): Whether there are lists by fold.
        val (bool): Whether there is a list to choose a checkpoint by.
        clips (int): Number of clips.
        spaces (bool): Whether paths have spaces.
        several (bool): Whether clips have several labels.

    Returns:
        str: Text of the config.
    """
    prefix = 'fold{fold}_' if folds else ''
    once = 'max_epochs' if not val else 'max(1, max_epochs // 10)'
    best = f", save_best='{metric_name(several)}'" if val else ''
    multi_class = ', multi_class=True' * several
    distance, sampler, rate = (
        ('frame_seconds', 'SampleFramesByTime', '1') if recipe.by_time else
        ('frame_interval', 'SampleFrames', f'{recipe.fps:g}'))
    lines = [
        '# Written by "mmlcr prepare", to be changed as the clips need it.',
        "_base_ = __import__('mmlcr.engine').engine.find_config(",
        "    'configs/lcr_weizmann.py')",
        '',
        "data_root = '{{ fileDirname }}'  # the folder of this file",
        *["fold = '{{$LCR_FOLD:0}}'"] * folds,
        f'num_classes = {len(classes)}',
        f'clip_len, {distance} = {CLIP_LEN}, {recipe.interval}',
        f'stream_fps = {rate} / {distance}',
        f'size = ({recipe.width}, {recipe.height})  # width, height',
        '# what the backbone starts from; None: from scratch, with max_epochs '
        f'= {recipe.scratch_epochs}',
        f'start = {START!r}',
        f'max_epochs = {recipe.epochs}',
        '',
        'model = dict(',
        "    backbone=dict(  # stem_input='both', where the camera moves",
        "        init_cfg=start and dict(type='Pretrained', checkpoint=start,",
        "                                prefix='backbone.')),",
        f'    cls_head=dict(num_classes=num_classes{multi_class}))',
        '',
        "sample = dict(type='RandomChoice', transforms=[[",
        f"    dict(type='{sampler}', clip_len=clip_len, "
        f'{distance}=interval)',
        f'] for interval in {recipe.intervals}])',
        f"sample_test = dict(type='{sampler}', clip_len=clip_len,",
        f'    {distance}={distance}, num_clips=10, test_mode=True)',
        'random_crop = dict(',
        f'    _base_.random_crop, aspect_ratio_range={recipe.aspects})',
        'resize = dict(_base_.resize, scale=size)',
        flip(classes)[0],
        'tube_mask = dict(_base_.tube_mask, ratio=0.25 if start else 0.5)',
        '# people as large as they are in the crops of the training',
        f'resize_test = dict(_base_.resize_test, scale=({recipe.width}, '
        f'{round(CROP * recipe.height)}))',
        'center_crop = dict(_base_.center_crop, crop_size=size)',
        PIPELINES,
        'val_pipeline = test_pipeline',
        '',
        'dataset = dict(',
        '    num_classes=num_classes,',
        *['    multi_class=True,'] * several,
        "    classes=f'{data_root}/classes.txt',",
        f'    open_files={clips <= MANY},  # before each training',
        *[r"    delimiter='\t',  # there are spaces in paths"] * spaces,
        "    data_prefix=dict(video=f'{data_root}/videos'))",
    ]
    for loader, part in (('train', 'train'), ('val', 'val' if val else 'test'),
                         ('test', 'test')):
        cached = loader == 'train' and recipe.gib <= CACHE
        lines += [
            f'{loader}_dataloader = dict(', '    dataset=dict(',
            '        **dataset,',
            *[f"        cache='ram',  # {recipe.gib:.2f} GiB of frames"
              ] * cached,
            f"        ann_file=f'{{data_root}}/{prefix}{part}.txt',",
            f'        pipeline={loader}_pipeline))'
        ]
    if several:
        lines += [
            "val_evaluator = dict(_delete_=True, type='AccMetric',",
            "    metric_list='mean_average_precision')",
            'test_evaluator = val_evaluator'
        ]
    lines += [
        '', f'train_cfg = dict(max_epochs=max_epochs, val_interval={once})',
        'param_scheduler = _base_.param_scheduler',
        'param_scheduler[0].total_steps = max_epochs',
        'default_hooks = dict(',
        f'    checkpoint=dict(interval=max(1, max_epochs // 8){best}))'
    ]
    return '\n'.join(lines) + '\n'
