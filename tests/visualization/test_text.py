# Copyright (c) The mmlcr authors. All rights reserved.
"""Names in any script, on pictures and plots."""
import warnings
from typing import Callable, Iterator

import numpy as np
import pytest
from PIL import features

from mmlcr.streaming import StreamResult, annotate
from mmlcr.visualization import plot_scores, text
from mmlcr.visualization.scores import new_figure
from mmlcr.visualization.text import (
    draw_text,
    fonts_for,
    letters_of,
    shortened_to,
    text_mask,
    text_width,
)

SIZE = 40


def result(*names: str, score: float = 0.87) -> StreamResult:
    return StreamResult(0, 0., names, (score, ) * len(names), True,
                        np.full(len(names), score))


def forget_texts() -> None:
    for cached in (fonts_for, text._font, text._runs, text_mask,
                   shortened_to):
        cached.cache_clear()


@pytest.fixture
def dejavu_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other font is installed."""
    monkeypatch.setattr(text, 'installed_fonts', dict)
    monkeypatch.setattr(text, '_missing_scripts', set())
    forget_texts()
    yield
    forget_texts()


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


def test_a_letter_that_no_font_has_warns_once(dejavu_alone: None) -> None:
    with pytest.warns(UserWarning, match="no installed font has '走'.*-noto"):
        annotate(np.zeros((480, 640, 3), np.uint8), result('走路'[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        annotate(np.zeros((480, 640, 3), np.uint8), result('走'))


def test_missing_letters_warn_once_per_script(dejavu_alone: None) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter('always')
        for name in '走路跑步跳跃挥手弯腰' * 9, '单脚跳', '走路', '한국':
            annotate(image, result(name))
    chinese, korean = (str(warning.message) for warning in records)
    assert '走' in chinese and '한' in korean


def test_a_name_of_two_fonts_has_all_letters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fonts = fonts_for('走 שלום')
    if len(fonts) == 1 or ord('ש') in letters_of(fonts[1][1]):
        pytest.skip('no font for Chinese alone is installed')
    hebrew, chinese = 'שלום ', '走'
    mask = text_mask(hebrew + chinese, SIZE)
    alone = text_mask(chinese, SIZE)
    # where it starts is a part of a pixel further to the right
    found = mask[:, -alone.shape[1] - 1:].sum() / alone.sum(dtype=float)
    assert found == pytest.approx(1, abs=0.1)
    gap = mask[:, -alone.shape[1] - SIZE // 10:-alone.shape[1]]
    assert not gap.any()  # the space
    for other in '跑', '路':
        assert (text_mask(hebrew + other, SIZE) != mask).any()


@pytest.mark.skipif(not features.check('raqm'), reason='Pillow has no raqm')
def test_right_to_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shaped = text_mask('שלום', SIZE), text_mask('ابجد', SIZE)
    monkeypatch.setattr(features, 'check', lambda name: False)
    forget_texts()
    assert (shaped[0] == text_mask('םולש', SIZE)).all()
    for order in 'ابجد', 'دجبا':  # its letters join
        plain = text_mask(order, SIZE)
        assert plain.shape != shaped[1].shape or (plain != shaped[1]).any()
    monkeypatch.undo()
    forget_texts()


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
        short_name = shortened_to(name, 32, width)
        assert text_mask(short_name, 32).shape[1] <= width
        assert short_name[-1] == '…' and name.startswith(short_name[:-1])
        longer = name[:len(short_name)] + '…'
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
    names = ['прыжок', 'costs $5 or $6', 'ação', r'$a\foo$']
    figure = plot_scores([0, 1], [np.random.rand(4) for _ in range(2)], names,
                         4)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # matplotlib's of missing glyphs
        assert fits(figure)
    texts = figure.axes[0].get_legend().get_texts()
    dollars = [shown for shown in texts if '$' in shown.get_text()]
    assert [shown.get_parse_math() for shown in dollars] == [False] * 2


def test_powers_stay_formulas(fits: Callable) -> None:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.set(yscale='log', ylim=(1e-3, 1e3))
    assert fits(figure)
    powers = [shown for shown in axes.get_yticklabels() if shown.get_text()]
    assert powers and all(shown.get_parse_math() for shown in powers)


@pytest.mark.parametrize('name', [
    'прыжок в длину с разбега и снова', 'W' * 16, '走路跑步跳跃' * 2],
    ids=['Cyrillic', 'wide', 'Chinese'])
def test_width_in_a_plot(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        figure = new_figure(9, 1)
        shown = figure.text(0, 0.5, name, fontsize=8)
        figure.canvas.draw()
    inches = shown.get_window_extent().width / figure.dpi
    assert text_width(name, 8) == pytest.approx(inches, rel=0.05)


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
