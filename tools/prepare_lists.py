# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn a folder with ``labels.csv`` into MMAction2 annotation lists.

``labels.csv`` has the columns ``path`` (relative to the folder), ``label``
(the name of a class) and ``subject`` (whom or what must not be in both
training and test). Classes are numbered, and subjects dealt into folds, in
alphabetical order.
"""
import argparse
import csv
import os
import os.path as osp
import shutil
import sys
from typing import Dict, List

COLUMNS = ('path', 'label', 'subject')


def read_labels(source: str) -> List[Dict[str, str]]:
    """The rows of ``labels.csv``, checked.

    Raises:
        ValueError: If the file, a column or a clip is missing, or a path
            has a space in it, which MMAction2's lists cannot hold.
    """
    path = osp.join(source, 'labels.csv')
    if not osp.exists(path):
        raise ValueError(f'there is no {path}')
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f'{path} has no rows')
    for number, row in enumerate(rows, 2):
        for column in COLUMNS:
            if not row.get(column):
                raise ValueError(f'{path}, line {number}: no {column}')
        if ' ' in row['path']:
            raise ValueError(f'{path}, line {number}: a space in the path '
                             f'{row["path"]!r}')
        clip = osp.join(source, row['path'])
        if not osp.isfile(clip) or not osp.getsize(clip):
            raise ValueError(
                f'{path}, line {number}: {clip} is missing or empty')
    return rows


def deal(names: List[str], parts: int) -> List[List[str]]:
    """Deal sorted names into consecutive parts, of sizes alike."""
    edges = [len(names) * part // parts for part in range(parts + 1)]
    return [names[a:b] for a, b in zip(edges, edges[1:])]


def write_list(path: str, rows: List[Dict[str, str]], classes: List[str],
               subjects: List[str]) -> None:
    """Write the clips of some subjects as lines of ``path label``."""
    lines = [
        f'{row["path"]} {classes.index(row["label"])}\n' for row in rows
        if row['subject'] in subjects
    ]
    with open(path, 'w') as file:
        file.writelines(lines)
    print(f'{path}: {len(lines)} clips of {" ".join(subjects)}')


def prepare(source: str, out: str, folds: int, copy: bool) -> None:
    """Write the lists and put the clips beside them."""
    rows = read_labels(source)
    classes = sorted({row['label'] for row in rows})
    subjects = sorted({row['subject'] for row in rows})
    if not 2 <= folds <= len(subjects):
        raise ValueError(f'--folds must be between 2 and the number of '
                         f'subjects, {len(subjects)}, got {folds}')
    os.makedirs(out, exist_ok=True)
    videos = osp.join(out, 'videos')
    if not osp.lexists(videos):
        if copy:
            shutil.copytree(source, videos)
        else:
            os.symlink(osp.abspath(source), videos)
    with open(osp.join(out, 'classes.txt'), 'w') as file:
        file.writelines(f'{name}\n' for name in classes)
    write_list(osp.join(out, 'all.txt'), rows, classes, subjects)
    for fold, test in enumerate(deal(subjects, folds)):
        train = [name for name in subjects if name not in test]
        # every third training subject, to choose a recipe without the test
        inner_val = train[::3]
        inner_train = [name for name in train if name not in inner_val]
        for part, names in (('train', train), ('test', test),
                            ('inner_train', inner_train), ('inner_val',
                                                           inner_val)):
            write_list(
                osp.join(out, f'fold{fold}_{part}.txt'), rows, classes, names)


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Turn a folder with labels.csv (columns path, label, '
        'subject) into MMAction2 lists, in folds by subject: '
        'OUT/fold{0,1,..}_{train,test,inner_train,inner_val}.txt, '
        'OUT/all.txt, OUT/classes.txt and OUT/videos')
    parser.add_argument('source', help='folder with labels.csv and the clips')
    parser.add_argument('--out', required=True, help='folder to make')
    parser.add_argument('--folds', type=int, default=3)
    parser.add_argument(
        '--copy',
        action='store_true',
        help='copy the clips instead of linking the folder')
    args = parser.parse_args()
    try:
        prepare(args.source, args.out, args.folds, args.copy)
    except ValueError as error:
        sys.exit(f'prepare_lists: {error}')


if __name__ == '__main__':
    main()
