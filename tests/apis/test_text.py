# Copyright (c) The mmlcr authors. All rights reserved.
"""Names in any script, on pictures and plots."""
import warnings
from typing import Callable, Iterator

import numpy as np
import pytest

from mmlcr.apis import StreamResult, annotate, plot_scores, text
from mmlcr.apis.text import (
    draw_text,
    fonts_for,
    letters_of,
    shortened_to,
    text_mask,
)

SIZE = 40


def result(*names: str, score: float = 0.87) -> StreamResult:
    return StreamResult(0, 0., names, (score, ) * len(names), True,
                        np.full(len(names), score))


@pytest.fixture
def dejavu_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other font is installed."""
    monkeypatch.setattr(text, 'installed_fonts', dict)
    for cached in fonts_for, text._font, text_mask:
        cached.cache_clear()
    yield
    for cached in fonts_for, text._font, text_mask:
        cached.cache_clear()


@pytest.mark.parametrize('letters', [
    'абвгджщ', 'αβγδξψω', 'éüßøñçż', 'אבגד', 'ابجد', '→≤½'],
    ids=['Cyrillic', 'Greek', 'Latin', 'Hebrew', 'Arabic', 'symbols'])
def test_letters_are_no_boxes_and_differ(letters: str,
                                         dejavu_alone: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        masks = [text_mask(letter, SIZE) for letter in letters]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        box = text_mask('走', SIZE)
    for index, mask in enumerate(masks):
        assert mask.any() and mask.shape[0] == SIZE
        for other in (box, *masks[:index]):
            assert mask.shape != other.shape or (mask != other).any()


def test_other_scripts_by_an_installed_font() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fonts = fonts_for('走 walk')
    if len(fonts) == 1:
        pytest.skip('no font for Chinese is installed')
    (_, first), (_, path) = fonts
    assert ord('走') in letters_of(path) - letters_of(first)
    assert (text_mask('走', SIZE) != text_mask('跑', SIZE)).any()


def test_a_letter_that_no_font_has_is_told_once(dejavu_alone: None) -> None:
    with pytest.warns(UserWarning, match="no installed font has '走'.*-noto"):
        annotate(np.zeros((480, 640, 3), np.uint8), result('走路'[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        annotate(np.zeros((480, 640, 3), np.uint8), result('走'))


def test_a_long_name_is_cut_and_the_score_is_not(make_frames: Callable
                                                 ) -> None:
    image = make_frames(1, height=480, width=640)[0]
    name = 'ein sehr langer Name, den niemand ganz lesen möchte' * 3
    drawn, short = (annotate(image, result(n)) for n in (name, 'x'))
    score = text_mask('0.87', 32).shape[1]
    assert (drawn[:32, :8 + score] == short[:32, :8 + score]).all()
    assert (drawn[:32] != short[:32]).any()
    assert (drawn[:, 640 * 3 // 5:] == image[:, 640 * 3 // 5:]).all()
    for width in (60, 200, 900):
        cut = shortened_to(name, 32, width)
        assert text_mask(cut, 32).shape[1] <= width
        assert cut[-1] == '…' and name.startswith(cut[:-1])
        longer = name[:len(cut)] + '…'
        assert text_mask(longer, 32).shape[1] > width
    assert shortened_to('walk', 32, 900) == 'walk'


@pytest.mark.parametrize('height, width', [(8, 8), (48, 64), (1080, 1920)])
def test_frames_of_any_size(height: int, width: int) -> None:
    image = np.full((height, width, 3), 100, np.uint8)
    drawn = annotate(image, result('прыжок', 'бег', 'ход'))
    assert drawn.shape == image.shape and (drawn != image).any()
    assert (image == 100).all()


def test_text_blends_and_ends_at_the_edge() -> None:
    image = np.full((20, 30, 3), 50, np.uint8)
    end = draw_text(image, 'WWWWWWWWW', 10, 4, 30, (250, 250, 250))
    assert end > 30
    assert image.max() > 240 and image.min() == 50
    assert (image[:4] == 50).all() and (image[:, :10] == 50).all()


def test_plots_have_letters_and_dollars(fits: Callable) -> None:
    names = ['прыжок', 'costs $5 or $6', 'ação']
    figure = plot_scores([0, 1], [np.random.rand(3) for _ in range(2)], names,
                         3)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # matplotlib's of missing glyphs
        assert fits(figure)
    texts = figure.axes[0].get_legend().get_texts()
    dollars, = (shown for shown in texts if '$' in shown.get_text())
    assert not dollars.get_parse_math()


def test_plots_fall_back_to_other_fonts(fits: Callable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if len(fonts_for('走')) == 1:
            pytest.skip('no font for Chinese is installed')
    figure = plot_scores([0, 1], [np.random.rand(2) for _ in range(2)],
                         ['走', 'walk'], 2)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert fits(figure)
