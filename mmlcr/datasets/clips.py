# Copyright (c) The mmlcr authors. All rights reserved.
"""Clips of a folder or a CSV file, before there are lists of them."""
import csv
import hashlib
import os
import os.path as osp
import re
from collections import Counter, defaultdict
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from .splits import Clip

VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm',
          '.wmv')
TOLD = 8  # of a long list of names, as many are told


def csv_rows(path: str, delimiter: Optional[str] = None
             ) -> Iterator[Tuple[int, List[str]]]:
    """Rows of a CSV file that are not empty, and the line each ends in.

    Args:
        path (str): Of the file.
        delimiter (str, optional): Defaults to None: a comma, or a semicolon or
            tab where the first line has no comma. Spaces after it don't count.

    Raises:
        ValueError: If it is no text in UTF-8, or no CSV file.
    """
    with open(path, newline='', encoding='utf-8-sig') as file:
        try:
            if delimiter is None:
                header = file.readline()
                file.seek(0)
                delimiter = next((d for d in ',;\t' if d in header), ',')
            reader = csv.reader(
                file, delimiter=delimiter, skipinitialspace=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f'{path}: not a CSV file in UTF-8: {error}') from None


def read_csv(path: str, column: Optional[str]) -> List[Clip]:
    """The clips of a CSV file.

    Raises:
        ValueError: If it is no CSV file in UTF-8, or it, a column, or a field
            of a line is missing.
    """
    rows = csv_rows(path)
    _, columns = next(rows, (0, []))
    clips = []
    for number, fields in rows:
        row = dict(zip(columns, fields))
        for name in filter(None, ('path', 'label', column)):
            if not row.get(name):
                raise ValueError(
                    f'{path}, line {number}: no {name}; columns are '
                    f'{", ".join(columns)}')
        clips.append(
            Clip(row['path'], row['label'], row[column or 'path'].strip()))
    if not clips:
        raise ValueError(f'{path} has no rows')
    return clips


def read_folder(source: str) -> Tuple[List[Clip], List[str]]:
    """The videos below each sub-folder, whose name is their class.

    Returns:
        tuple[list[Clip], list[str]]: The clips, and what is there besides.

    Raises:
        ValueError: If a sub-folder has no videos, or there is none.
    """
    clips: List[Clip] = []
    left_out: List[str] = []
    for label in visible(source):
        top = osp.join(source, label)
        if not osp.isdir(top):
            continue
        before = len(clips)
        for folder, folders, files in os.walk(top):
            linked = [f for f in folders if osp.islink(osp.join(folder, f))]
            folders[:] = [f for f in sorted(folders) if f[0] != '.']
            for name in sorted([*files, *linked]):
                if name[0] == '.':  # also ._NAME.mp4, which macOS adds
                    continue
                path = osp.relpath(osp.join(folder, name), source)
                path = path.replace(os.sep, '/')
                if name.lower().endswith(VIDEOS):
                    clips.append(Clip(path, label, path))
                else:
                    left_out.append(path)
        if len(clips) == before:
            raise ValueError(
                f'{top}: no videos ({" ".join(VIDEOS)}) for a class of that '
                'name; pictures of a clip are to be made a video first')
    if not clips:
        raise ValueError(f'{source}: neither a labels.csv nor sub-folders '
                         'with videos, one for each class')
    return clips, left_out


def visible(folder: str) -> List[str]:
    """Names in a folder, in order, but for hidden ones."""
    return sorted(name for name in os.listdir(folder) if name[0] != '.')


def with_groups(clips: Sequence[Clip], pattern: str) -> List[Clip]:
    """Groups by a pattern that is found in each path.

    Raises:
        ValueError: If it is no pattern, or not found in some path.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'the pattern {pattern!r}: {error}') from None
    found = []
    for clip in clips:
        match = compiled.search(clip.path)
        group = match and match.group(1 if compiled.groups else 0)
        if not group:
            raise ValueError(f'the pattern {pattern!r} is not found in '
                             f'{clip.path}')
        found.append(clip._replace(group=group))
    return found


def check_names(source: str, clips: Sequence[Clip]) -> None:
    """Refuse what a list, or a file of class names, cannot hold.

    Raises:
        ValueError: If a path or a label begins or ends with a space, or has
            characters that are not printed; if a path is there twice, or a
            group in two ways of writing; if a clip has no label.
    """
    for clip in clips:
        for kind, text in (('path', clip.path), ('label', clip.label)):
            if text != text.strip() or not text.isprintable():
                raise ValueError(f'{source}: the {kind} {text!r} must not '
                                 'begin or end with a space, nor have tabs '
                                 'or line breaks')
        if not all(clip.labels):
            raise ValueError(f'{source}: one of the labels of {clip.path} is '
                             f'empty: {clip.label!r}')
    twice = [path for path, count in Counter(
        clip.path for clip in clips).items() if count > 1]
    if twice:
        raise ValueError(f'{source}: there twice, with other labels or '
                         f'groups: {shortened(twice)}; several labels of a '
                         'clip are written as a|b')
    written: Dict[str, str] = {}
    for clip in clips:
        other = written.setdefault(clip.group.casefold(), clip.group)
        if clip.group not in (other, clip.path):
            raise ValueError(f'{source}: {other!r} and {clip.group!r} would '
                             'be two groups: write one of them otherwise')


def same_content(folder: str, paths: Sequence[str]) -> List[List[str]]:
    """Files that are the same to the byte."""
    sizes = defaultdict(list)
    for path in paths:
        sizes[osp.getsize(osp.join(folder, path))].append(path)
    contents = defaultdict(list)
    for alike in sizes.values():
        for path in alike if len(alike) > 1 else ():
            with open(osp.join(folder, path), 'rb') as file:
                digest = hashlib.sha256(file.read()).digest()
            contents[digest].append(path)
    return [same for same in contents.values() if len(same) > 1]


def shortened(names: Sequence[str], most: int = TOLD) -> str:
    """Names, and how many more there are."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
