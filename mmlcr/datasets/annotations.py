# Copyright (c) The mmlcr authors. All rights reserved.
"""Annotation lists, whose lines are a path, numbers and labels."""
import re
from codecs import BOM_UTF8
from typing import Dict, List, NamedTuple, Optional, Tuple

from mmengine.fileio import get

from .errors import ClipError

UNLABELLED = -1  # as in MMAction2
MAX_DIGITS = 9  # of a number in a list, without leading zeros
MAX_SHOWN = 200  # characters of a bad line in an error message
NUMBER = re.compile('[+-]?[0-9]+')


class Annotation(NamedTuple):
    """The fields of a line."""
    path: str
    numbers: Dict[str, int]  # fields between path and labels, by name
    labels: List[int]


class LineParser:
    """Parses the lines of an annotation list.

    Spaces, tabs or commas separate the fields of a line. The labels come
    last, so that paths may contain spaces.

    Args:
        line_format (str): Names of the fields, such as ``'path label'``.
        num_classes (int): Labels are in ``[0, num_classes)``.
        multi_class (bool): Whether a line has any number of labels.
        test_mode (bool): Whether a line may lack its label.
        delimiter (str, optional): What separates the fields. Defaults to
            None: spaces, tabs or commas, whichever fits the line.
    """

    def __init__(self, line_format: str, num_classes: int, *,
                 multi_class: bool, test_mode: bool,
                 delimiter: Optional[str]) -> None:
        self.line_format = line_format
        self.num_classes = num_classes
        self.multi_class = multi_class
        self.test_mode = test_mode
        self.delimiter = delimiter
        self.names = line_format.split()[1:]

    def parse(self, line: str, where: str) -> Annotation:
        """Parse a line.

        Args:
            line (str): A line of the list.
            where (str): File and line number, the prefix of error messages.

        Returns:
            Annotation: Without labels, or with the label ``UNLABELLED``, only
            for a line of a test set or with ``multi_class``.

        Raises:
            ClipError: If the line has too few fields, a field is not a whole
                number, or a label is out of range.
        """
        path, fields = self._split(line, where)
        values = []
        for name, field in zip([*self.names, *['label'] * len(fields)],
                               fields):
            if len(field.lstrip('+-0')) > MAX_DIGITS:
                raise ClipError(f'{where}: {name} has more than {MAX_DIGITS} '
                                f'digits: {shorten(field)}')
            values.append(int(field))
        count = len(self.names) - 1
        labels = values[count:]
        for label in labels:
            if label == UNLABELLED and self.test_mode:
                continue
            if not 0 <= label < self.num_classes:
                raise ClipError(f'{where}: the label must be in '
                                f'[0, {self.num_classes}), got {label}')
        return Annotation(path, dict(zip(self.names[:count], values)), labels)

    def _split(self, line: str, where: str) -> Tuple[str, List[str]]:
        """Split a line into its path and the whole numbers after it."""
        delimiter, count = self.delimiter, len(self.names)
        # a line may have no label with multi_class: no class occurs in it
        fewest, most = (count - 1, len(line)) if self.multi_class else (
            count, count)
        for candidate in (delimiter, ) if delimiter else ('\t', ',', None):
            is_guess = candidate is not None and not delimiter
            parts = _split_numbers(line, candidate, max(fewest, is_guess),
                                   most)
            if parts:
                return parts
        if self.test_mode and len(line.split(delimiter)) == count:
            parts = _split_numbers(line, delimiter, count - 1, count - 1)
            if parts:
                return parts
        fields = line.rsplit(delimiter, count)
        for name, field in zip(self.names, fields[1:] * (len(fields) > count)):
            if not NUMBER.fullmatch(field.strip()):
                raise ClipError(f'{where}: {name} must be a whole number, '
                                f'got {shorten(field)}')
        separators = repr(delimiter) if delimiter else 'spaces, tabs or commas'
        raise ClipError(
            f'{where}: expected "{self.line_format}", got {shorten(line)}; '
            f'{separators} must separate the fields, or another delimiter '
            "that the data set gets as an argument, such as delimiter=';'")


def read_lines(path: str) -> List[str]:
    """Read the lines of a UTF-8 text file, without blank ones at its end.

    Args:
        path (str): Local path, or one of a storage that MMEngine supports.

    Raises:
        ClipError: If the file can't be read; names the first line that is not
            text.
    """
    try:
        data = get(path)
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


def shorten(text: str) -> str:
    """Quote a text for a message, at most ``MAX_SHOWN`` letters of it."""
    if len(text) > MAX_SHOWN:
        return f'{text[:MAX_SHOWN]!r}... of {len(text)} characters'
    return repr(text)


def _split_numbers(line: str, delimiter: Optional[str], fewest: int,
                   most: int) -> Optional[Tuple[str, List[str]]]:
    """Split a line into its path and the numbers at its end.

    Spaces may separate the numbers, too.

    Returns:
        tuple[str, list[str]] | None: None if there is no path, or there are
        not ``fewest`` to ``most`` numbers.
    """
    fields = line.split(delimiter)
    numbers: List[str] = []
    splits = 0
    while splits < len(fields) - 1 and len(numbers) < most:
        words = fields[-1 - splits].split()
        if not words or not all(map(NUMBER.fullmatch, words)):
            break
        numbers[:0] = words
        splits += 1
    path = line.rsplit(delimiter, splits)[0].strip() if splits else line
    return (path, numbers) if path and fewest <= len(numbers) <= most else None
