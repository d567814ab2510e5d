# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn a folder of clips into lists, class names and a config.

Classes are numbered, and groups assigned to folds, in alphabetical order.
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
from mmlcr_cli.main import shell_command
from .errors import INPUT_ERRORS, exit_on
from .recipes import (
    config_text,
    describe_sampling,
    flip,
    metric_name,
    probe_videos,
    suggest_settings,
)

BAD_CLIPS = 'bad_clips.txt'  # written by --scan
# lists that an earlier call with other folds or shares may have written
LISTS = re.compile(r'(all|(fold\d+_)?(inner_)?(train|val|test))\.txt')


def read_clips(args: argparse.Namespace) -> Tuple[str, List[Clip]]:
    """Read the source.

    Returns:
        tuple[str, list[Clip]]: The folder that paths are relative to, and all
        clips.

    Raises:
        ValueError: If the source or its contents are not valid.
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
            print(f'{len(left_out)} files that are no videos are left out: '
                  f'{shortened(left_out)}')
        if is_inside(args.out, path):
            raise ValueError(f'{args.out} would be one more class: choose a '
                             f'folder outside of {path}')
    if args.group_pattern:
        clips = with_groups(clips, args.group_pattern)
    distinct = [*dict.fromkeys(clips)]
    if len(distinct) < len(clips):
        print(f'warning: {len(clips) - len(distinct)} lines of {path} are '
              'repeated; each clip counts once')
    check_names(path, distinct)
    classes = class_names_of(distinct)
    print(f'{path}: {len(distinct)} clips of {len(classes)} classes')
    if len(classes) == 1:
        print(f'warning: there is only one class, {classes[0]}, so there is '
              'nothing to learn')
    return folder, distinct


def is_inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, symbolic links resolved."""
    folder = osp.realpath(folder)
    return osp.commonpath([folder, osp.realpath(path)]) == folder


def split(args: argparse.Namespace, clips: List[Clip]) -> Dict[str, Parts]:
    """Split the clips into parts.

    Returns:
        dict[str, Parts]: The parts of each fold by the prefix of its lists;
        without folds, there is one empty prefix.

    Raises:
        ValueError: If there are too few groups.
    """
    groups = sorted({clip.group for clip in clips})
    if args.folds is None:
        names = ['train', 'val', 'test'] if args.val_share else [
            'train', 'test']
        shares = [args.val_share, args.test_share][-len(names) + 1:]
        parts = stratified_group_split(
            clips, [1 - sum(shares), *shares], args.seed)
        return {
            '': {
                name: clips_of(clips, members)
                for name, members in zip(names, parts)
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
    """Split a third of the groups off, to tune without the test clips."""
    groups = sorted({clip.group for clip in train})
    if len(groups) < 2:
        return {}
    held_out = groups[::3]
    return dict(
        inner_train=clips_of(train, sorted({*groups} - {*held_out})),
        inner_val=clips_of(train, held_out))


def report(args: argparse.Namespace, folder: str, folds: Dict[str, Parts],
           classes: Sequence[str]) -> None:
    """Print the parts, and warn of what looks wrong."""
    for prefix, parts in folds.items():
        assert_disjoint(parts)
        for name, clips in parts.items():
            groups = sorted({clip.group for clip in clips})
            names = f': {shortened(groups)}' if args.grouped else ''
            print(f'{prefix}{name}: {len(clips)} clips, {len(groups)} '
                  f'group(s){names}')
        for problem in absent_classes(parts, classes):
            print(f'warning: {prefix}{problem}')
    everything = [c for clips in [*folds.values()][0].values() for c in clips]
    if not args.grouped:
        print('warning: every clip is its own group: clips of one person or '
              'one recording may be in both training and test, which inflates '
              'the accuracy; --group or --group-pattern keeps them apart')
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
    """Format a list: a line with path and labels for each clip.

    Fields are separated by tabs if paths have spaces.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    separator = '\t' if spaces else ' '
    return ''.join(
        separator.join([clip.path, *(str(numbers[name])
                                   for name in clip.labels)]) + '\n'
        for clip in clips)


def conflicting_files(out: str, texts: Dict[str, str]) -> List[str]:
    """Return the files of an earlier call that differ from the new ones."""
    if not osp.isdir(out):
        return []
    conflicts = []
    for name in visible(out):
        path = osp.join(out, name)
        if name in texts:
            with open(path, encoding='utf-8') as file:
                if file.read() != texts[name]:
                    conflicts.append(name)
        elif LISTS.fullmatch(name):
            conflicts.append(name)
    return conflicts


def put_videos(folder: str, out: str, clips: Sequence[Clip],
               copy: bool, force: bool) -> None:
    """Link or copy the clips to ``OUT/videos``.

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
            raise ValueError(f'{target} is another clip than {source}; '
                             '--force replaces it')
    for source, target in pairs:
        os.makedirs(osp.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def next_commands(args: argparse.Namespace, config: str, first: Clip,
                  measure: str) -> List[str]:
    """Return the shell commands to train, test and stream."""
    work = f'work_dirs/{osp.splitext(osp.basename(config))[0]}'
    fold = ''
    if args.folds:
        work, fold = f'{work}_fold0', ' --fold 0'
    trained = f'"$(cat {work}/last_checkpoint)"'
    if args.val_share:
        best = f'{work}/best_{measure.replace("/", "_")}_epoch_*.pth'
        trained = f'"$(ls -t {best} | head -n 1)"'

    def command(name: str) -> str:
        return f'{shell_command(name)} {shlex.quote(config)}'

    clip = osp.join(args.out, 'videos', first.path)
    return [
        f'{command("train")}{fold} --seed 0 --work-dir {work}',
        f'{command("test")} {trained}{fold} --dump {work}/test.pkl',
        f'{command("stream")} {trained} {shlex.quote(clip)}',
    ]


def prepare(args: argparse.Namespace) -> str:
    """Write lists, names, clips and config.

    Returns:
        str: The path of the config.

    Raises:
        ValueError: If the clips or arguments are not valid; no list was
            written then.
    """
    folder, clips = read_clips(args)
    classes = class_names_of(clips)
    several = any(len(clip.labels) > 1 for clip in clips)
    facts = probe_videos(folder, clips)
    folds = split(args, clips)
    report(args, folder, folds, classes)
    recipe = suggest_settings(facts,
                    max(len(parts['train']) for parts in folds.values()))

    print('\n'.join([*describe_sampling(facts, recipe), flip(classes)[1]]))
    spaces = any(' ' in clip.path for clip in clips)
    if spaces:
        print('paths have spaces: the lists are separated by tabs, which only '
              'configs with delimiter set, such as the one written, read')
    parts = {'all': clips}
    for prefix, fold in folds.items():
        inner = inner_lists(fold['train']) if prefix else {}
        for name, members in {**fold, **inner}.items():
            parts[prefix + name] = members
    texts = {
        f'{name}.txt': list_text(members, classes, spaces)
        for name, members in parts.items()
    }
    texts['classes.txt'] = ''.join(f'{name}\n' for name in classes)
    name = args.name or osp.basename(osp.abspath(args.out))
    config = f'lcr_{re.sub(r"[^0-9A-Za-z]+", "_", name)}.py'
    texts[config] = config_text(recipe, classes, args.folds is not None,
                                args.val_share > 0, len(clips), spaces,
                                several)
    conflicts = conflicting_files(args.out, texts)
    if conflicts and not args.force:
        raise ValueError(f'{args.out} holds other files already, which '
                         f'--force replaces: {shortened(conflicts)}')
    put_videos(folder, args.out, clips, args.copy, args.force)
    for file in conflicts:
        os.remove(osp.join(args.out, file))
    for file, text in texts.items():
        atomic_write(text.encode(), osp.join(args.out, file))
    config = osp.join(args.out, config)
    print(f'written: {config}, {len(texts) - 1} lists and names in {args.out}'
          '\n\nnext:')
    first = [*folds.values()][0]['test'][0]
    for command in next_commands(args, config, first, metric_name(several)):
        print(f'  {command}')
    return config


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> int:
    """Run the command."""
    config = prepare(args)
    if not args.scan:
        return 0
    splits = ['train', 'val', 'test'] if args.val_share else ['train', 'test']
    return subprocess.call([
        sys.executable, '-m', 'mmlcr_cli', 'scan', config, '--splits', *splits,
        '--out', osp.join(args.out, BAD_CLIPS)
    ])
