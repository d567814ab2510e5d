# Copyright (c) The mmlcr authors. All rights reserved.
"""From a folder of clips to lists, class names and a config to train with.

Classes are numbered, and groups dealt into folds, in alphabetical order.
"""
import argparse
import filecmp
import os
import os.path as osp
import re
import shlex
import shutil
import subprocess
import sys
from typing import Dict, List, Sequence, Tuple

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.recipes import (
    config_text,
    flip,
    measure_of,
    probe_videos,
    suggest_settings,
    told_of_frames,
)
from mmlcr.datasets import (
    Clip,
    Parts,
    absent_classes,
    assert_disjoint,
    class_names_of,
    clips_of,
    make_folds,
    stratified_group_split,
)
from mmlcr.datasets.clips import (
    check_names,
    read_csv,
    read_folder,
    same_content,
    shortened,
    visible,
    with_groups,
)
from mmlcr.engine import atomic_write

TOOLS = osp.dirname(sys.argv[0])
BAD_CLIPS = 'bad_clips.txt'  # of --scan
# what an earlier call may have written, of other folds or parts
LISTS = re.compile(r'(all|(fold\d+_)?(inner_)?(train|val|test))\.txt')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Split clips by group, check them, and write OUT/*.txt '
        '(lists and class names), OUT/videos (the clips) and a config, '
        'OUT/lcr_NAME.py. Prints the commands that come next.')
    parser.add_argument(
        'source',
        help='folder with a sub-folder of videos for each class, or with a '
        'labels.csv; or a CSV file of the columns path (relative to its '
        'folder) and label, or several labels as a|b')
    parser.add_argument('--out', required=True, help='folder to make')
    parser.add_argument('--name', help='of the config; default: that of OUT')
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--group',
        metavar='COLUMN',
        help='column of the CSV file: who or what must not be in training '
        'and test at once')
    group.add_argument(
        '--group-pattern',
        metavar='REGEX',
        help="the same from a clip's path, as its first group: '/([a-z]+)_' "
        'is daria in bend/daria_bend.avi')
    parser.add_argument(
        '--folds',
        type=int,
        help='so many folds, groups in alphabetical order: '
        'OUT/fold{0,1,..}_{train,test,inner_train,inner_val}.txt')
    parser.add_argument(
        '--test-share',
        type=float,
        help='of the clips, without --folds: OUT/{train,test}.txt; default: '
        '0.2')
    parser.add_argument(
        '--val-share',
        type=float,
        help='of the clips, to choose a checkpoint by: OUT/val.txt; default: '
        '0, and the last checkpoint counts')
    parser.add_argument(
        '--seed', type=int, help='of the split; default: 0')
    parser.add_argument(
        '--copy',
        action='store_true',
        help='copy the clips instead of linking their folder')
    parser.add_argument(
        '--scan',
        action='store_true',
        help='decode all clips to the end, by tools/scan_clips.py')
    parser.add_argument(
        '--force',
        action='store_true',
        help='write over what an earlier call wrote otherwise')
    args = parser.parse_args()
    if args.folds is not None and (args.test_share, args.val_share) != (None,
                                                                        None):
        parser.error('--folds go without --test-share and --val-share')
    if args.folds is not None and args.folds < 2:
        parser.error(f'--folds must be at least 2, got {args.folds}')
    args.test_share = 0.2 if args.test_share is None else args.test_share
    args.val_share = args.val_share or 0.
    if args.seed is not None and args.folds and (args.group
                                                 or args.group_pattern):
        parser.error('--seed: folds are of groups in alphabetical order')
    args.seed = args.seed or 0
    args.grouped = args.group is not None or args.group_pattern is not None
    if not (0 < args.test_share and 0 <= args.val_share
            and args.test_share + args.val_share < 1):
        parser.error('shares must be positive and leave something to train '
                     f'on, got {args.test_share:g} and {args.val_share:g}')
    return args


def read_clips(args: argparse.Namespace) -> Tuple[str, List[Clip]]:
    """The folder that paths are relative to, and all clips.

    Raises:
        ValueError: If the source, or what it says, is no good.
    """
    path = args.source
    if osp.isdir(path) and osp.isfile(osp.join(path, 'labels.csv')):
        path = osp.join(path, 'labels.csv')
    if osp.isfile(path):
        folder, clips = osp.dirname(path) or '.', read_csv(path, args.group)
    elif not osp.isdir(path):
        raise ValueError(f'there is no {path}')
    elif args.group:
        raise ValueError(f'--group {args.group}: there is no {path}/'
                         'labels.csv with such a column')
    else:
        folder, (clips, left_out) = path, read_folder(path)
        if left_out:
            print(f'left out, {len(left_out)} that are no videos: '
                  f'{shortened(left_out)}')
        if is_inside(args.out, path):
            raise ValueError(f'{args.out} would be one more class: choose a '
                             f'folder outside of {path}')
    if args.group_pattern:
        clips = with_groups(clips, args.group_pattern)
    distinct = [*dict.fromkeys(clips)]
    if len(distinct) < len(clips):
        print(f'warning: {len(clips) - len(distinct)} lines of {path} are '
              'there more than once, and count once')
    check_names(path, distinct)
    classes = class_names_of(distinct)
    print(f'{path}: {len(distinct)} clips of {len(classes)} classes')
    if len(classes) == 1:
        print(f'warning: clips of one class alone, {classes[0]}: there is '
              'nothing that a model could learn to tell apart')
    return folder, distinct


def is_inside(path: str, folder: str) -> bool:
    folder = osp.realpath(folder)
    return osp.commonpath([folder, osp.realpath(path)]) == folder


def split(args: argparse.Namespace, clips: List[Clip]) -> Dict[str, Parts]:
    """Clips of each part, by fold; the name of the only one is empty.

    Raises:
        ValueError: If there are too few groups.
    """
    groups = sorted({clip.group for clip in clips})
    if args.folds is None:
        names = ['train', 'val', 'test'] if args.val_share else [
            'train', 'test']
        shares = [args.val_share, args.test_share][-len(names) + 1:]
        dealt = stratified_group_split(
            clips, [1 - sum(shares), *shares], args.seed)
        return {
            '': {
                name: clips_of(clips, theirs)
                for name, theirs in zip(names, dealt)
            }
        }
    if args.grouped:
        tested = make_folds(groups, args.folds)
    else:
        tested = stratified_group_split(
            clips, [1 / args.folds] * args.folds, args.seed)
    found = {}
    for fold, test in enumerate(tested):
        train = sorted({*groups} - {*test})
        found[f'fold{fold}_'] = dict(
            train=clips_of(clips, train), test=clips_of(clips, test))
    return found


def inner_lists(train: Sequence[Clip]) -> Parts:
    """A third of the groups aside, to choose a recipe without the test."""
    groups = sorted({clip.group for clip in train})
    if len(groups) < 2:
        return {}
    aside = groups[::3]
    return dict(
        inner_train=clips_of(train, sorted({*groups} - {*aside})),
        inner_val=clips_of(train, aside))


def report(args: argparse.Namespace, folder: str, folds: Dict[str, Parts],
           classes: Sequence[str]) -> None:
    """Say who is where, and what looks wrong."""
    for prefix, parts in folds.items():
        assert_disjoint(parts)
        for name, clips in parts.items():
            groups = sorted({clip.group for clip in clips})
            said = f': {shortened(groups)}' if args.grouped else ''
            print(f'{prefix}{name}: {len(clips)} clips, {len(groups)} '
                  f'group(s){said}')
        for said in absent_classes(parts, classes):
            print(f'warning: {prefix}{said}')
    everything = [c for clips in [*folds.values()][0].values() for c in clips]
    if not args.grouped:
        print('warning: every clip is its own group: clips of one person, or '
              'of one recording, may be in training and in test, and the '
              'accuracy then says too much; --group or --group-pattern tells '
              'them apart')
    for same in same_content(folder, [clip.path for clip in everything]):
        apart = [
            prefix for prefix, parts in folds.items()
            if sum(any(clip.path in same for clip in clips)
                   for clips in parts.values()) > 1
        ]
        if apart:
            print('warning: the same clip in training and test: '
                  f'{", ".join(sorted(same))}')


def list_text(clips: Sequence[Clip], classes: Sequence[str],
              spaces: bool) -> str:
    """Lines of ``path label``, or of a path and several labels.

    They have tabs between if paths have spaces.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    between = '\t' if spaces else ' '
    return ''.join(
        between.join([clip.path, *(str(numbers[name])
                                   for name in clip.labels)]) + '\n'
        for clip in clips)


def would_be_lost(out: str, texts: Dict[str, str]) -> List[str]:
    """Files of an earlier call that say otherwise than those to be written."""
    if not osp.isdir(out):
        return []
    lost = []
    for name in visible(out):
        path = osp.join(out, name)
        if name in texts:
            with open(path, encoding='utf-8') as file:
                if file.read() != texts[name]:
                    lost.append(name)
        elif LISTS.fullmatch(name):
            lost.append(name)
    return lost


def put_videos(folder: str, out: str, clips: Sequence[Clip],
               copy: bool, force: bool) -> None:
    """The clips as ``OUT/videos``, by a link or copied.

    Raises:
        ValueError: If other clips are there, or one to be copied lies
            outside of the folder.
    """
    videos = osp.join(out, 'videos')
    if not copy:
        there = osp.lexists(videos)
        if there and osp.realpath(videos) == osp.realpath(folder):
            return
        if there and not (force and osp.islink(videos)):
            raise ValueError(f'{videos} is there and not a link to {folder}: '
                             'move it away, or choose another --out')
        os.makedirs(out, exist_ok=True)
        if there:
            os.remove(videos)
        os.symlink(osp.abspath(folder), videos)
        return
    if osp.islink(videos):
        raise ValueError(f'{videos} is a link: remove it to have copies')
    pairs = [(osp.join(folder, clip.path), osp.join(videos, clip.path))
             for clip in clips]
    for source, target in pairs:
        if not is_inside(target, videos):
            raise ValueError(f'{source} lies outside of {folder}: such clips '
                             'are not copied')
        if osp.exists(target) and not (force or filecmp.cmp(source, target)):
            raise ValueError(f'{target} is another clip than {source}, and '
                             'stays without --force')
    for source, target in pairs:
        os.makedirs(osp.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def next_commands(args: argparse.Namespace, config: str, first: Clip,
                  measure: str) -> List[str]:
    """To train, to test and to stream, as a shell reads them."""
    work = f'work_dirs/{osp.splitext(osp.basename(config))[0]}'
    fold = ''
    if args.folds:
        work, fold = f'{work}_fold0', ' --fold 0'
    trained = f'"$(cat {work}/last_checkpoint)"'
    if args.val_share:
        best = f'{work}/best_{measure.replace("/", "_")}_epoch_*.pth'
        trained = f'"$(ls -t {best} | head -n 1)"'

    def tool(name: str) -> str:
        path = osp.join(TOOLS, name)
        return f'python {shlex.quote(path)} {shlex.quote(config)}'

    clip = osp.join(args.out, 'videos', first.path)
    return [
        f'{tool("train.py")}{fold} --seed 0 --work-dir {work}',
        f'{tool("test.py")} {trained}{fold} --dump {work}/test.pkl',
        f'{tool("stream.py")} {trained} {shlex.quote(clip)}',
    ]


def prepare(args: argparse.Namespace) -> str:
    """All of it.

    Returns:
        str: The path of the config.

    Raises:
        ValueError: If something does not go; no list was written then.
    """
    folder, clips = read_clips(args)
    classes = class_names_of(clips)
    several = any(len(clip.labels) > 1 for clip in clips)
    facts = probe_videos(folder, clips)
    folds = split(args, clips)
    report(args, folder, folds, classes)
    recipe = suggest_settings(facts,
                    max(len(parts['train']) for parts in folds.values()))

    print('\n'.join([*told_of_frames(facts, recipe), flip(classes)[1]]))
    spaces = any(' ' in clip.path for clip in clips)
    if spaces:
        print('paths have spaces: lists are divided by tabs, which the config '
              'knows, and no other')
    parts = {'all': clips}
    for prefix, of_fold in folds.items():
        inner = inner_lists(of_fold['train']) if prefix else {}
        for name, theirs in {**of_fold, **inner}.items():
            parts[prefix + name] = theirs
    texts = {
        f'{name}.txt': list_text(theirs, classes, spaces)
        for name, theirs in parts.items()
    }
    texts['classes.txt'] = ''.join(f'{name}\n' for name in classes)
    name = args.name or osp.basename(osp.abspath(args.out))
    config = f'lcr_{re.sub(r"[^0-9A-Za-z]+", "_", name)}.py'
    texts[config] = config_text(recipe, classes, args.folds is not None,
                                args.val_share > 0, len(clips), spaces,
                                several)
    lost = would_be_lost(args.out, texts)
    if lost and not args.force:
        raise ValueError(f'{args.out} holds others already, which --force '
                         f'gives up: {shortened(lost)}')
    put_videos(folder, args.out, clips, args.copy, args.force)
    for file in lost:
        os.remove(osp.join(args.out, file))
    for file, text in texts.items():
        atomic_write(text.encode(), osp.join(args.out, file))
    config = osp.join(args.out, config)
    print(f'written: {config}, {len(texts) - 1} lists and names in {args.out}'
          '\n\nnext:')
    first = [*folds.values()][0]['test'][0]
    for command in next_commands(args, config, first, measure_of(several)):
        print(f'  {command}')
    return config


def main() -> int:
    args = parse_args()
    try:
        config = prepare(args)
    except (OSError, ValueError) as error:
        sys.exit(f'prepare_dataset: {error}')
    if not args.scan:
        return 0
    splits = ['train', 'val', 'test'] if args.val_share else ['train', 'test']
    return subprocess.call([
        sys.executable,
        osp.join(TOOLS, 'scan_clips.py'), config, '--splits', *splits, '--out',
        osp.join(args.out, BAD_CLIPS)
    ])


if __name__ == '__main__':
    sys.exit(main())
