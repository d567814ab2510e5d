# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the lists of Kinetics-400, Something-Something V2 and Jester.

The owners' files become the lists that the configs read; the numbers of clips
and the order of labels are checked.
"""
import argparse
import json
import os
import os.path as osp
import re
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
)

from mmengine.config import Config

from mmlcr.datasets import mirrored_labels
from mmlcr.datasets.clips import VIDEOS, csv_rows, shortened, visible
from mmlcr.engine import atomic_write, find_config
from .errors import INPUT_ERRORS, exit_on

Split = List[Tuple[str, str]]  # names of each clip and of its class


class Labels(NamedTuple):
    """Contents of the owners' files."""
    classes: List[str]  # in the order of the labels
    splits: Dict[str, Split]  # train and val


class PublicSet(NamedTuple):
    """A public data set: published counts, and how its files are read."""
    lists: str  # file name, by split and kind
    videos: str  # folder of a split
    classes: int
    counts: Dict[str, int]  # published numbers of clips
    read: Callable[[str], Labels]
    config: str


def find(folder: str, *names: str) -> str:
    """Find a file of the owners, whose name changed over the years.

    Raises:
        ValueError: If there is none.
    """
    for name in names:
        for place in (folder, osp.join(folder, 'labels')):
            if osp.isfile(osp.join(place, name)):
                return osp.join(place, name)
    raise ValueError(f'{folder}: there is no {" or ".join(names)}')


def rows_of(path: str, delimiter: str) -> Iterator[Tuple[str, List[str]]]:
    """Yield the position and fields of each line that is not empty.

    Raises:
        ValueError: If the file is no CSV file in UTF-8.
    """
    for number, row in csv_rows(path, delimiter):
        yield f'{path}, line {number}', row


def read_k400(folder: str) -> Labels:
    """Read CSV files of label, youtube_id, time_start, time_end, split.

    Labels are numbered as in MMAction2: alphabetically, spaces as ``_``.

    Raises:
        ValueError: If a column is missing, or a time is no number.
    """
    splits = {}
    for split in ('train', 'val'):
        path = find(folder, f'{split}.csv', f'kinetics_{split}.csv',
                    f'kinetics-400_{split}.csv', f'kinetics400_{split}.csv')
        rows = rows_of(path, ',')
        header = next(rows, (path, ['']))[1]
        columns = 'label', 'youtube_id', 'time_start', 'time_end'
        if not {*columns} <= {*header}:
            raise ValueError(f'{path}: columns must be {", ".join(columns)}, '
                             f'got {", ".join(header)}')
        indices = [header.index(name) for name in columns]
        clips = []
        for where, row in rows:
            try:
                label, name, *times = (row[index] for index in indices)
                start, end = (int(float(time)) for time in times)
            except (IndexError, ValueError):
                raise ValueError(f'{where}: no clip: {row}') from None
            clips.append((f'{name}_{start:06d}_{end:06d}', label))
        splits[split] = clips
    classes = sorted({label for _, label in splits['train']},
                     key=lambda name: name.replace(' ', '_'))
    return Labels(classes, splits)


def read_ssv2(folder: str) -> Labels:
    """Read JSON files: labels by name, and clips with their template.

    Raises:
        ValueError: If the files have another form.
    """
    begin = 'something-something-v2-'

    def load(*names: str) -> Tuple[str, Any]:
        path = find(folder, *(p + name for name in names
                              for p in (begin, '')))
        with open(path, encoding='utf-8') as file:
            try:
                return path, json.load(file)
            except ValueError as error:
                raise ValueError(f'{path}: {error}') from None

    path, numbers = load('labels.json')
    try:
        by_number = {int(number): name for name, number in numbers.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f'{path}: not names with a number each') from None
    if len(by_number) != len(numbers):
        raise ValueError(f'{path}: a number is used twice')
    if {*by_number} != {*range(len(numbers))}:
        raise ValueError(f'{path}: labels must be numbered from 0 on')
    classes = [by_number[number] for number in sorted(by_number)]
    splits = {}
    for split, name in (('train', 'train.json'), ('val', 'validation.json')):
        path, items = load(name)
        try:
            splits[split] = [(str(item['id']),
                              re.sub(r'[\[\]]', '', item['template']))
                             for item in items]
        except (KeyError, TypeError) as error:
            raise ValueError(f'{path}: clips must have id and template: '
                             f'{error}') from None
    return Labels(classes, splits)


def read_jester(folder: str) -> Labels:
    """Read files with a class name a line, and with ``id;label`` lines.

    Raises:
        ValueError: If a line has another form.
    """
    begin = 'jester-v1-'
    path = find(folder, f'{begin}labels.csv', 'labels.csv')
    classes = [row[0] for _, row in rows_of(path, ';')]
    splits = {}
    for split, name in (('train', 'train.csv'), ('val', 'validation.csv')):
        path = find(folder, begin + name, name)
        clips = []
        for where, row in rows_of(path, ';'):
            if len(row) != 2:
                raise ValueError(f'{where}: expected "id;label", got '
                                 f'{";".join(row)!r}')
            clips.append((row[0], row[1]))
        splits[split] = clips
    return Labels(classes, splits)


SETS = {
    'k400': PublicSet('kinetics400_{}_list_{}.txt', 'videos_{}', 400,
                      dict(train=246_535, val=19_907), read_k400, 'lcr_k400'),
    'ssv2': PublicSet('sthv2_{}_list_{}.txt', 'videos', 174,
                      dict(train=168_913, val=24_777), read_ssv2, 'lcr_ssv2'),
    'jester': PublicSet('jester_{}_list_{}.txt', 'videos', 27,
                        dict(train=118_562, val=14_787), read_jester,
                        'lcr_jester'),
}


def check_labels(labels: Labels, public: PublicSet, config: Config) -> None:
    """Check that the labels are those of the config.

    Raises:
        ValueError: If a name, their number, or a mirrored pair differs.
    """
    classes = labels.classes
    if len(classes) != public.classes or len({*classes}) != len(classes):
        raise ValueError(f'{public.classes} classes are expected, got '
                         f'{len({*classes})}')
    known = config.get('classes')
    if known and {*known} != {*classes}:
        raise ValueError('other classes than those of the config: '
                         f'{sorted({*known} ^ {*classes})}')
    if known and known != classes:
        print('note: the owners have another order; labels are numbered as '
              f'configs/{public.config}.py lists them')
        classes[:] = known
    mirrored = config.get('flip_label_map')
    if mirrored is not None and mirrored != mirrored_labels(classes):
        raise ValueError(
            f'the mirrored labels are {mirrored_labels(classes)} by their '
            f'names, and {dict(mirrored)} in configs/{public.config}.py: the '
            'order of labels differs')
    for split, clips in labels.splits.items():
        unknown = sorted({label for _, label in clips} - {*classes})
        if unknown:
            raise ValueError(f'{split}: clips of classes that are not among '
                             f'the labels: {shortened(unknown)}')


def videos_below(folder: str) -> Dict[str, str]:
    """Find the videos below a folder.

    Returns:
        dict[str, str]: Paths relative to the folder, by the videos' names.

    Raises:
        ValueError: If there is no such folder.
    """
    if not osp.isdir(folder):
        raise ValueError(f'there is no folder {folder}')
    found = {}
    for place, _, files in os.walk(folder, followlinks=True):
        for file in files:
            name, ending = osp.splitext(file)
            if ending.lower() in VIDEOS and name[0] != '.':
                path = osp.relpath(osp.join(place, file), folder)
                found[name] = path.replace(os.sep, '/')
    spaces = [path for path in found.values() if ' ' in path]
    if spaces:
        print(f'note: {len(spaces)} paths in {folder} have spaces, as '
              f'{spaces[0]}: data sets of mmlcr read such lists, those of '
              'MMAction2 do not')
    return found


def count_frames(folder: str) -> int:
    """Count the pictures of a clip.

    Raises:
        ValueError: If they are not named 00001.jpg, 00002.jpg, ...
    """
    names = {name for name in visible(folder) if name.endswith('.jpg')}
    for number in range(1, len(names) + 1):
        if f'{number:05d}.jpg' not in names:
            raise ValueError(f'{len(names)} pictures, and no {number:05d}.jpg')
    if not names:
        raise ValueError('no pictures')
    return len(names)


def lines_of(clips: Split, classes: List[str], folder: str,
             frames: bool) -> Tuple[List[str], List[str]]:
    """Return the lines of a list, and the missing clips with the reasons."""
    numbers = {name: number for number, name in enumerate(classes)}
    lines, missing = [], []
    videos = {} if frames else videos_below(folder)
    for name, label in clips:
        path = osp.join(folder, name)
        if frames:
            try:
                count = count_frames(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error,
                                                      OSError) else error
                missing.append(f'{name}\t{reason}\n')
                continue
            lines.append(f'{name} {count} {numbers[label]}\n')
        elif name not in videos:
            missing.append(f'{name}\tno such video\n')
        elif not osp.getsize(osp.join(folder, videos[name])):
            missing.append(f'{name}\tan empty file\n')
        else:
            lines.append(f'{videos[name]} {numbers[label]}\n')
    return lines, missing


def prepare(public: PublicSet, root: Optional[str], frames: bool) -> bool:
    """Write the lists and class names, and compare the counts.

    Args:
        public (PublicSet): The data set.
        root (str, optional): Its folder. Defaults to None: the config's.
        frames (bool): Whether clips are folders of frames.

    Returns:
        bool: Whether all clips are there.

    Raises:
        ValueError: If the labels are not those that are expected.
    """
    config = Config.fromfile(find_config(f'configs/{public.config}.py'))
    root = root or config.data_root
    labels = public.read(osp.join(root, 'annotations'))
    check_labels(labels, public, config)
    atomic_write(''.join(f'{name}\n' for name in labels.classes).encode(),
                osp.join(root, 'classes.txt'))
    print(f'{len(labels.classes)} classes, as expected: {root}/classes.txt')
    complete = True
    for split, clips in labels.splits.items():
        folder = osp.join(
            root, 'rawframes' if frames else public.videos.format(split))
        lines, missing = lines_of(clips, labels.classes, folder, frames)
        path = osp.join(
            root,
            public.lists.format(split, 'rawframes' if frames else 'videos'))
        atomic_write(''.join(lines).encode(), path)
        left = osp.join(root, f'missing_{split}.txt')
        atomic_write(''.join(missing).encode(), left)
        expected = public.counts[split]
        print(f'{split}: {expected:,} clips published, {len(clips):,} in '
              f"the owners' file, {len(lines):,} in {folder} and in {path}")
        if len(clips) != expected:
            print(f'{split}: {abs(len(clips) - expected):,} '
                  f'{"fewer" if len(clips) < expected else "more"} in the '
                  'file than were published')
        if missing:
            print(f'{split}: {len(missing):,} missing, listed in {left}')
        complete = complete and not missing and len(clips) == expected
    return complete


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> bool:
    """Run the command."""
    public = SETS[args.dataset]
    frames = args.dataset == 'jester' and not args.videos
    return not prepare(public, args.data_root, frames)
