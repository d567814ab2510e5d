# Copyright (c) The mmlcr authors. All rights reserved.
"""Read clips from a folder or a CSV file, to make annotation lists."""
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
MAX_NAMES = 8  # of a long list of names in a message


def csv_rows(path: str, delimiter: Optional[str] = None
             ) -> Iterator[Tuple[int, List[str]]]:
    """Iterate over the rows of a CSV file that are not empty.

    Args:
        path (str): Path of the file.
        delimiter (str, optional): Spaces after it are ignored. Defaults to
            None: a comma, or a semicolon or tab where the first line has no
            comma.

    Yields:
        tuple[int, list[str]]: Number of the line in which the row ends, and
        its fields.

    Raises:
        ValueError: If the file is not UTF-8 text, or not a CSV file.
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
    """Read the clips of a CSV file with the columns ``path`` and ``label``.

    Args:
        path (str): Path of the file.
        column (str, optional): Name of the column with the group of a clip.
            With None, every clip is its own group.

    Raises:
        ValueError: If the file is not a CSV file in UTF-8 or has no rows, or
            a column or a field is missing.
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
    """Find the videos in each sub-folder, whose name is their class.

    Args:
        source (str): Path of the folder.

    Returns:
        tuple[list[Clip], list[str]]: The clips, and the paths of all other
        files.

    Raises:
        ValueError: If a sub-folder has no videos, or there is no sub-folder.
    """
    clips: List[Clip] = []
    others: List[str] = []
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
                    others.append(path)
        if len(clips) == before:
            raise ValueError(
                f'{top}: no videos ({" ".join(VIDEOS)}) for a class of that '
                'name; make a video of the pictures of a clip first')
    if not clips:
        raise ValueError(f'{source}: neither a labels.csv nor sub-folders '
                         'with videos, one for each class')
    return clips, others


def visible(folder: str) -> List[str]:
    """List the names in a folder, sorted, without hidden ones."""
    return sorted(name for name in os.listdir(folder) if name[0] != '.')


def with_groups(clips: Sequence[Clip], pattern: str) -> List[Clip]:
    """Set the group of each clip to the match of a pattern in its path.

    Args:
        clips (Sequence[Clip]): The clips, which are not changed.
        pattern (str): A regular expression. The group of a clip is the text
            of its first parentheses, or the whole match if it has none.

    Raises:
        ValueError: If the pattern is not valid, or not found in some path.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'the pattern {pattern!r}: {error}') from None
    grouped = []
    for clip in clips:
        match = compiled.search(clip.path)
        group = match and match.group(1 if compiled.groups else 0)
        if not group:
            raise ValueError(f'the pattern {pattern!r} is not found in '
                             f'{clip.path}')
        grouped.append(clip._replace(group=group))
    return grouped


def check_names(source: str, clips: Sequence[Clip]) -> None:
    """Refuse paths and labels that an annotation list cannot hold.

    Args:
        source (str): Folder or CSV file, the prefix of error messages.
        clips (Sequence[Clip]): All clips.

    Raises:
        ValueError: If a path or a label begins or ends with a space or has
            characters that can't be printed, a path occurs twice, a group is
            spelled in two ways, or a clip has no label.
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
    repeated = [path for path, count in Counter(
        clip.path for clip in clips).items() if count > 1]
    if repeated:
        raise ValueError(f'{source}: these paths occur twice, with other '
                         f'labels or groups: {shortened(repeated)}; several '
                         'labels of a clip are written as a|b')
    spellings: Dict[str, str] = {}
    for clip in clips:
        other = spellings.setdefault(clip.group.casefold(), clip.group)
        if clip.group not in (other, clip.path):
            raise ValueError(f'{source}: {other!r} and {clip.group!r} would '
                             'be two groups: spell them alike')


def same_content(folder: str, paths: Sequence[str]) -> List[List[str]]:
    """Group files with equal content.

    Args:
        folder (str): Folder of all clips.
        paths (Sequence[str]): Paths in it.

    Returns:
        list[list[str]]: The paths of each group of two or more files.
    """
    by_size = defaultdict(list)
    for path in paths:
        by_size[osp.getsize(osp.join(folder, path))].append(path)
    by_digest = defaultdict(list)
    for candidates in by_size.values():
        for path in candidates if len(candidates) > 1 else ():
            with open(osp.join(folder, path), 'rb') as file:
                digest = hashlib.sha256(file.read()).digest()
            by_digest[digest].append(path)
    return [equal for equal in by_digest.values() if len(equal) > 1]


def shortened(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """Join the first names, and the number of further ones, for a message."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
