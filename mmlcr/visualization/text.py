# Copyright (c) The mmlcr authors. All rights reserved.
"""Text in any script on pictures and plots, by fonts that have its letters."""
import contextlib
import functools
import unicodedata
import warnings
from typing import Dict, FrozenSet, List, Set, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

# matplotlib brings it: Latin, Greek, Cyrillic, Arabic, Hebrew and others
FIRST_FONT = 'DejaVu Sans'
BOXES = 'Last Resort'  # a font that has a box for any letter
ELLIPSIS = '…'
PIXELS = 100  # of a letter that is measured for a plot

_missing_scripts: Set[str] = set()  # those that a warning has named


@functools.lru_cache(maxsize=None)
def letters_of(path: str) -> FrozenSet[int]:
    """Code points that a font file has."""
    from matplotlib.ft2font import FT2Font
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that FreeType can't read
        return frozenset()


def installed_fonts() -> Dict[str, str]:
    """Families of the upright fonts of usual weight, by their files."""
    from matplotlib.font_manager import findSystemFonts, fontManager
    known = {font.fname for font in fontManager.ttflist}
    for path in {*findSystemFonts()} - known:  # newer than matplotlib's list
        with contextlib.suppress(OSError, RuntimeError):
            fontManager.addfont(path)
    return {
        str(font.fname): font.name
        for font in fontManager.ttflist
        if font.style == 'normal' and font.weight in (400, 'normal', 'regular')
        and not font.name.startswith(BOXES)
    }


@functools.lru_cache(maxsize=None)
def fonts_for(text: str) -> Tuple[Tuple[str, str], ...]:
    """Fonts that have the letters of a text together.

    Warns of letters that no installed font has, once for each script.

    Args:
        text (str): In any script.

    Returns:
        tuple[tuple[str, str], ...]: Family and file of each: matplotlib's
        own first, then, of those installed, what most of the others are in.
    """
    from matplotlib.font_manager import findfont
    first = str(findfont(FIRST_FONT))
    found = [(FIRST_FONT, first)]
    missing = {ord(letter) for letter in text if letter.isprintable()}
    missing -= letters_of(first)
    if not missing:
        return tuple(found)
    others = installed_fonts() if missing else {}
    while missing and others:
        best = max(
            others,
            key=lambda path: (len(missing & letters_of(path)), 'Sans' in
                              others[path], path))
        has = missing & letters_of(best)
        if not has:
            break
        found.append((others.pop(best), best))
        missing -= has
    scripts = {_script(chr(letter)) for letter in missing}
    if scripts - _missing_scripts:
        _missing_scripts.update(scripts)
        letters = ''.join(map(chr, sorted(missing)))
        warnings.warn(
            f'no installed font has {letters!r}: they are drawn as boxes; a '
            'package such as fonts-noto-core or fonts-noto-cjk has them',
            stacklevel=2)
    return tuple(found)


def _script(letter: str) -> str:
    """The first word of a letter's Unicode name, such as ``'HANGUL'``."""
    return unicodedata.name(letter, 'unnamed').split()[0]


@functools.lru_cache(maxsize=256)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """A font file, opened."""
    engine = ImageFont.Layout.BASIC
    if features.check('raqm'):  # right to left, letters that join
        engine = ImageFont.Layout.RAQM
    return ImageFont.truetype(path, size, layout_engine=engine)


@functools.lru_cache(maxsize=1024)
def _runs(text: str) -> Tuple[Tuple[str, str], ...]:
    """Pieces of a text, each with a font file that has its letters.

    A text stays whole where one font has all of it.
    """
    wanted = set(map(ord, text))
    paths = sorted((path for _, path in fonts_for(text)),
                   key=lambda path: -len(wanted & letters_of(path)))
    runs = [('', paths[0])]
    for letter in text:
        piece, path = runs[-1]
        if letter.isprintable() and not unicodedata.combining(letter):
            path = next((other for other in paths
                         if ord(letter) in letters_of(other)), path)
        if path == runs[-1][1]:
            runs[-1] = piece + letter, path
        else:
            runs.append((letter, path))
    return tuple(run for run in runs if run[0])


@functools.lru_cache(maxsize=1024)
def text_mask(text: str, size: int) -> np.ndarray:
    """How much of each pixel a text covers.

    Args:
        text (str): One line.
        size (int): Height of a line in pixels.

    Returns:
        np.ndarray: From 0 to 255, uint8, ``(size, width)``.
    """
    letter = max(6, round(0.75 * size))
    image = Image.new('L', (round(_length(text, letter)) + 1, size))
    draw = ImageDraw.Draw(image)
    # all fonts stand on the line of the first
    ascent, descent = _font(fonts_for('')[0][1], letter).getmetrics()
    line, left = (size + ascent - descent) / 2, 0.
    runs = _runs(text)
    # from right to left, a space at the border of a piece would change sides
    is_mixed = len(runs) > 1 and features.check('raqm')
    for piece, path in runs:
        font = _font(path, letter)
        draw.text((left, line), piece, fill=255, font=font, anchor='ls',
                  direction='ltr' if is_mixed else None)
        left += font.getlength(piece)
    return np.array(image)


def text_width(text: str, points: float) -> float:
    """Inches that a text takes in a plot, by the size of its letters.

    For letters that no font has, newer matplotlib draws boxes of a font of its
    own.
    """
    boxes = _box_font()
    known: Set[int] = set()
    if boxes:
        for _, path in fonts_for(text):
            known |= letters_of(path)
    missing = [c for c in text
               if boxes and c.isprintable() and ord(c) not in known]
    length = sum(_font(boxes, PIXELS).getlength(c) for c in missing)
    rest = ''.join(c for c in text if c not in missing)
    return (length + _length(rest, PIXELS)) / PIXELS * points / 72


@functools.lru_cache(maxsize=None)
def _box_font() -> str:
    """The file of matplotlib's font of boxes; empty if it has none."""
    from matplotlib.font_manager import fontManager
    return next((str(font.fname) for font in fontManager.ttflist
                 if font.name.startswith(BOXES)), '')


def _length(text: str, size: int) -> float:
    """Pixels that a text is wide, its letters of that size."""
    return sum(_font(path, size).getlength(piece)
               for piece, path in _runs(text))


@functools.lru_cache(maxsize=1024)
def shortened_to(text: str, size: int, width: int) -> str:
    """A text that is at most so many pixels wide, cut with an ellipsis."""
    if text_mask(text, size).shape[1] <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        cut = text[:middle].rstrip() + ELLIPSIS
        if text_mask(cut, size).shape[1] <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS


def draw_text(image: np.ndarray, text: str, left: int, top: int, size: int,
              colour: Tuple[int, int, int]) -> int:
    """Draw a line of text into a picture, and no further than its edge.

    Args:
        image (np.ndarray): RGB, uint8, changed in place.
        text (str): In any script.
        left (int): Pixels from the left edge.
        top (int): Pixels from the upper edge.
        size (int): Height of the line in pixels.
        colour (tuple[int, int, int]): RGB.

    Returns:
        int: Where the text ends.
    """
    mask = text_mask(text, size)
    place = image[top:top + size, left:left + mask.shape[1]]
    share = mask[:place.shape[0], :place.shape[1], None].astype(np.uint16)
    place[:] = (place * (255 - share) +
                np.array(colour, np.uint16) * share) // 255
    return left + mask.shape[1]


def use_fonts(figure: object) -> None:
    """Give the texts of a matplotlib figure fonts that have their letters.

    A dollar sign stays one: names are no formulas. Matplotlib's own labels of
    powers are.
    """
    from matplotlib.text import Text
    texts: List[Text] = figure.findobj(Text)  # type: ignore[attr-defined]
    for text in texts:
        shown = text.get_text()
        if '$' in shown:
            text.set_parse_math(r'\mathdefault' in shown)
        if not shown.isascii():
            text.set_fontfamily([family for family, _ in fonts_for(shown)])
