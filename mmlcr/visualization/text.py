# Copyright (c) The mmlcr authors. All rights reserved.
"""Text in any script on pictures and plots, with fallback fonts."""
import contextlib
import functools
import unicodedata
import warnings
from typing import Dict, FrozenSet, List, Set, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

# shipped with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and others
FIRST_FONT = 'DejaVu Sans'
BOXES = 'Last Resort'  # a font that has a box for any letter
ELLIPSIS = '…'
PIXELS = 100  # font size at which text for plots is measured

_missing_scripts: Set[str] = set()  # scripts that were already warned of


@functools.lru_cache(maxsize=None)
def letters_of(path: str) -> FrozenSet[int]:
    """Return the code points of a font file."""
    from matplotlib.ft2font import FT2Font
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that FreeType can't read
        return frozenset()


def installed_fonts() -> Dict[str, str]:
    """Return the families of upright, regular fonts by font file."""
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
    """Choose fonts that together have all letters of a text.

    Warns of letters that no installed font has, once for each script.

    Args:
        text (str): Text in any script.

    Returns:
        tuple[tuple[str, str], ...]: Family and file of each font:
        matplotlib's own, then greedily the installed font that has most of
        the letters still missing.
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
    """Return the first word of a letter's Unicode name, as ``'HANGUL'``."""
    return unicodedata.name(letter, 'unnamed').split()[0]


@functools.lru_cache(maxsize=256)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """Open a font file."""
    engine = ImageFont.Layout.BASIC
    if features.check('raqm'):  # for right-to-left and joined letters
        engine = ImageFont.Layout.RAQM
    return ImageFont.truetype(path, size, layout_engine=engine)


@functools.lru_cache(maxsize=1024)
def _runs(text: str) -> Tuple[Tuple[str, str], ...]:
    """Split a text into runs, each with a font file that has its letters.

    There is one run if one font has all letters.
    """
    letters = set(map(ord, text))
    paths = sorted((path for _, path in fonts_for(text)),
                   key=lambda path: -len(letters & letters_of(path)))
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
    """Render a text as an alpha mask.

    Args:
        text (str): One line.
        size (int): Height of the line in pixels.

    Returns:
        np.ndarray: Coverage from 0 to 255, uint8, ``(size, width)``.
    """
    letter = max(6, round(0.75 * size))
    image = Image.new('L', (round(_length(text, letter)) + 1, size))
    draw = ImageDraw.Draw(image)
    # all fonts share the baseline of the first
    ascent, descent = _font(fonts_for('')[0][1], letter).getmetrics()
    line, left = (size + ascent - descent) / 2, 0.
    runs = _runs(text)
    # right to left, a space at the border of a run would change sides
    is_mixed = len(runs) > 1 and features.check('raqm')
    for piece, path in runs:
        font = _font(path, letter)
        draw.text((left, line), piece, fill=255, font=font, anchor='ls',
                  direction='ltr' if is_mixed else None)
        left += font.getlength(piece)
    return np.array(image)


def text_width(text: str, points: float) -> float:
    """Return the width of a text in a plot in inches.

    Args:
        text (str): One line.
        points (float): Font size.
    """
    # newer matplotlib draws letters that no font has as boxes of its own font
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
    """Return the file of matplotlib's font of boxes, or an empty string."""
    from matplotlib.font_manager import fontManager
    return next((str(font.fname) for font in fontManager.ttflist
                 if font.name.startswith(BOXES)), '')


def _length(text: str, size: int) -> float:
    """Return the width of a text in pixels at a font size in pixels."""
    return sum(_font(path, size).getlength(piece)
               for piece, path in _runs(text))


@functools.lru_cache(maxsize=1024)
def shortened_to(text: str, size: int, width: int) -> str:
    """Shorten a text with an ellipsis to at most ``width`` pixels."""
    if text_mask(text, size).shape[1] <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        candidate = text[:middle].rstrip() + ELLIPSIS
        if text_mask(candidate, size).shape[1] <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS


def draw_text(image: np.ndarray, text: str, left: int, top: int, size: int,
              colour: Tuple[int, int, int]) -> int:
    """Draw a line of text into a picture, clipped at its edges.

    Args:
        image (np.ndarray): RGB, uint8, changed in place.
        text (str): Text in any script.
        left (int): Pixels from the left edge.
        top (int): Pixels from the upper edge.
        size (int): Height of the line in pixels.
        colour (tuple[int, int, int]): RGB.

    Returns:
        int: Column where the text ends.
    """
    mask = text_mask(text, size)
    region = image[top:top + size, left:left + mask.shape[1]]
    share = mask[:region.shape[0], :region.shape[1], None].astype(np.uint16)
    region[:] = (region * (255 - share) +
                 np.array(colour, np.uint16) * share) // 255
    return left + mask.shape[1]


def use_fonts(figure: object) -> None:
    """Set fonts that have all letters for the texts of a matplotlib figure.

    Dollar signs are drawn as such, since class names are not formulas;
    matplotlib's own labels of powers stay formulas.
    """
    from matplotlib.text import Text
    texts: List[Text] = figure.findobj(Text)  # type: ignore[attr-defined]
    for text in texts:
        shown = text.get_text()
        if '$' in shown:
            text.set_parse_math(r'\mathdefault' in shown)
        if not shown.isascii():
            text.set_fontfamily([family for family, _ in fonts_for(shown)])
