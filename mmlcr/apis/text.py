# Copyright (c) The mmlcr authors. All rights reserved.
"""Text in any script on pictures and plots, by fonts that have its letters."""
import contextlib
import functools
import warnings
from typing import Dict, FrozenSet, List, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

# matplotlib brings it: Latin, Greek, Cyrillic, Arabic, Hebrew and others
FIRST_FONT = 'DejaVu Sans'
BOXES = 'Last Resort'  # a font that has a box for any letter
ELLIPSIS = '…'


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

    Warns of letters that no installed font has.

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
    if missing:
        letters = ''.join(map(chr, sorted(missing)))
        warnings.warn(
            f'no installed font has {letters!r}: they are drawn as boxes; a '
            'package such as fonts-noto or fonts-noto-cjk has them',
            stacklevel=2)
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The one that has most of a text's letters."""
    wanted = set(map(ord, text))
    _, path = max(
        fonts_for(text), key=lambda font: len(wanted & letters_of(font[1])))
    engine = ImageFont.Layout.BASIC
    if features.check('raqm'):  # right to left, letters that join
        engine = ImageFont.Layout.RAQM
    return ImageFont.truetype(path, size, layout_engine=engine)


@functools.lru_cache(maxsize=1024)
def text_mask(text: str, size: int) -> np.ndarray:
    """How much of each pixel a text covers.

    Args:
        text (str): One line.
        size (int): Height of a line in pixels.

    Returns:
        np.ndarray: From 0 to 255, uint8, ``(size, width)``.
    """
    font = _font(text, max(6, round(0.75 * size)))
    width = max(1, round(font.getlength(text)) + 1)
    image = Image.new('L', (width, size))
    ImageDraw.Draw(image).text(
        (0, size / 2), text, fill=255, font=font, anchor='lm')
    return np.array(image)


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

    A dollar sign stays one: names are no formulas.
    """
    from matplotlib.text import Text
    texts: List[Text] = figure.findobj(Text)  # type: ignore[attr-defined]
    for text in texts:
        shown = text.get_text()
        if '$' in shown and '\\' not in shown:
            text.set_parse_math(False)
        if not shown.isascii():
            text.set_fontfamily([family for family, _ in fonts_for(shown)])
