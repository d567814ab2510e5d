# Copyright (c) The mmlcr authors. All rights reserved.
"""Reading and plotting of logs and predictions, and bad inputs."""
import json
import math
import pickle
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest
import torch

from mmlcr.engine import UnreadableFileError
from mmlcr.visualization.analysis import (
    MultiLabelPredictions,
    Predictions,
    class_accuracies,
    class_precisions,
    most_confused,
    read_curves,
    read_predictions,
    worst_clips,
)
from mmlcr.visualization.analysis_plots import (
    plot_classes,
    plot_confusion,
    plot_curves,
    plot_sheet,
)

NAMES = ('run', 'skip', 'walk', 'wave')
# (true class, scores): two runs, one taken for a skip; two skips, both taken
# for runs; a walk; no wave
CLIPS = ((0, (.7, .2, .1, 0)), (0, (.3, .6, .1, 0)), (1, (.8, .1, .1, 0)),
         (1, (.5, .4, .1, 0)), (2, (.1, .1, .8, 0)))


@pytest.fixture
def dump(tmp_path: Path) -> Callable[..., str]:
    """Write a dump, each sample changed by a function."""

    def write(change: Callable[[int, dict], Any] = lambda n, sample: sample,
              clips: tuple = CLIPS) -> str:
        samples = [
            dict(pred_score=torch.tensor(scores, dtype=torch.float32),
                 gt_label=torch.tensor([true]), path=f'videos/{number}.mp4')
            for number, (true, scores) in enumerate(clips)
        ]
        path = tmp_path / 'dump.pkl'
        path.write_bytes(
            pickle.dumps([change(n, s) for n, s in enumerate(samples)]))
        return str(path)

    return write


# ---- predictions

# (many-hot labels, scores): the second class is right in every order but one
SEVERAL = (((1, 0, 0, 0), (.9, .8, .1, .2)), ((1, 1, 0, 0), (.8, .6, .2, .1)),
           ((0, 1, 1, 0), (.1, .7, .9, .3)), ((0, 0, 0, 0), (.2, .1, .3, .4)))


@pytest.fixture
def several(dump: Callable) -> Callable[..., str]:
    """A dump of clips with any number of labels."""

    def write(**changed: Any) -> str:
        def change(number: int, sample: dict) -> dict:
            labels, scores = SEVERAL[number]
            return {
                **sample, 'gt_label': torch.tensor(labels).float(),
                'pred_score': torch.tensor(scores), **changed
            }

        return dump(change, CLIPS[:len(SEVERAL)])

    return write


def test_average_precisions_of_classes(several: Callable) -> None:
    """AP is the mean over the hits of the precision at each hit."""
    predictions = read_predictions(several(), 4)
    assert isinstance(predictions, MultiLabelPredictions)
    found = class_precisions(predictions, NAMES)
    assert [c[:2] for c in found] == [('skip', 2), ('run', 2), ('walk', 1),
                                      ('wave', 0)]
    np.testing.assert_allclose([c.value for c in found],
                               [(1 / 2 + 2 / 3) / 2, 1, 1, math.nan])
    assert [str(c) for c in found] == ['2 clips', '2 clips', '1 clips',
                                       '0 clips']


def test_average_precision_is_that_of_its_definition() -> None:
    """Check random scores, with and without ties, against the definition."""
    rng = np.random.default_rng(0)
    for levels in 5, 1000:
        scores = rng.integers(0, levels, (50, 6)) / levels
        labels = rng.random((50, 6)) < 0.3
        predictions = MultiLabelPredictions(scores, labels, ('', ) * 50)
        for c in class_precisions(predictions, range(6)):
            class_scores, hit = scores[:, c.name], labels[:, c.name]
            expected, recalled = 0., 0.
            for threshold in np.unique(class_scores)[::-1]:
                taken = class_scores >= threshold
                recall = hit[taken].sum() / hit.sum()
                expected += (recall - recalled) * hit[taken].mean()
                recalled = recall
            assert c.value == pytest.approx(expected)


def test_worst_clips_of_several_labels(several: Callable) -> None:
    predictions = read_predictions(several(), 4)
    expected = [
        -np.mean([math.log(p if true else 1 - p)
                  for true, p in zip(labels, scores)])
        for labels, scores in SEVERAL
    ]
    np.testing.assert_allclose(predictions.losses, expected, rtol=1e-5)
    assert worst_clips(predictions, 1) == [0]
    assert predictions.predicted[2].tolist() == [False, True, True, False]


def test_scores_of_several_labels_become_probabilities(
        several: Callable) -> None:
    raw = torch.tensor([-1., 0., 2., -800.])
    scores = read_predictions(several(pred_score=raw), 4).scores[0]
    np.testing.assert_allclose(scores, [0.26894142, 0.5, 0.88079708, 0])


def test_mixed_and_impossible_labels_are_named(dump: Callable,
                                               several: Callable) -> None:
    with pytest.raises(ValueError, match='sample 1: gt_label must be zero or '
                       'one for each class, got'):
        read_predictions(dump(lambda n, sample: dict(
            sample, gt_label=torch.tensor([0., 2. * n, 0., 1.]))), 4)
    with pytest.raises(ValueError, match='sample 1: gt_label must be one '
                       r'class in \[0, 4\), got \[0, 1, 0, 1\]'):
        read_predictions(dump(lambda n, sample: sample if not n else dict(
            sample, gt_label=torch.tensor([0, 1, 0, 1]))), 4)


def test_bars_of_average_precision(several: Callable, fits: Callable) -> None:
    found = class_precisions(read_predictions(several(), 4), NAMES)
    figure = plot_classes(found, 'a.py')
    assert figure.axes[0].get_xlabel() == (
        'average precision; dotted: mean of the classes, '
        f'{np.nanmean([c.value for c in found]):.3f}')
    assert fits(figure)


def test_confusion_counts_clips(dump: Callable) -> None:
    counts = read_predictions(dump(), 4).confusion()
    assert counts.tolist() == [[1, 1, 0, 0], [2, 0, 0, 0], [0, 0, 1, 0],
                               [0, 0, 0, 0]]
    first, second = most_confused(counts, 10)
    assert first == (1, 0, 2, 2) and second == (0, 1, 1, 2)
    assert most_confused(counts, 1) == [first]


def test_classes_are_sorted_and_those_without_clips_last(
        dump: Callable) -> None:
    found = class_accuracies(read_predictions(dump(), 4), NAMES)
    assert [tuple(c) for c in found] == [('skip', 2, 0), ('run', 2, 1),
                                         ('walk', 1, 1), ('wave', 0, 0)]
    assert [c.accuracy for c in found[:3]] == [0, 0.5, 1]
    assert math.isnan(found[3].accuracy)


def test_worst_clips_have_the_highest_losses(dump: Callable) -> None:
    predictions = read_predictions(dump(), 4)
    expected = [-math.log(scores[true]) for true, scores in CLIPS]
    np.testing.assert_allclose(predictions.losses, expected, rtol=1e-6)
    assert worst_clips(predictions, 3) == [2, 1, 3]
    assert worst_clips(predictions, 99) == [2, 1, 3, 0, 4]
    assert predictions.paths[2] == 'videos/2.mp4'


def test_a_class_that_was_ruled_out_has_a_finite_loss(dump: Callable) -> None:
    predictions = read_predictions(dump(clips=((3, (1., 0., 0., 0.)), )), 4)
    assert 80 < predictions.losses[0] < 100


def test_scores_before_softmax_become_probabilities(dump: Callable) -> None:
    def before(number: int, sample: dict) -> dict:
        scores = sample['pred_score'].clamp(min=1e-30).log() + number
        return {**sample, 'pred_score': scores}

    found = read_predictions(dump(before), 4)
    np.testing.assert_allclose(
        found.scores, [scores for _, scores in CLIPS], atol=1e-6)


def test_paths_are_not_always_known(dump: Callable) -> None:
    def without(number: int, sample: dict) -> dict:
        sample.pop('path')
        return sample

    assert read_predictions(dump(without), 4).paths == ('', ) * 5


def change_third(**changes: Any) -> Callable[[int, dict], Any]:
    return lambda n, sample: {**sample, **changes} if n == 2 else sample


@pytest.mark.parametrize('change, message', [
    (change_third(pred_score=torch.rand(3)), '3 scores for 4 classes'),
    (change_third(pred_score=None), 'no pred_score in it'),
    (change_third(gt_label=None), 'no gt_label in it'),
    (change_third(gt_label=torch.tensor([4])),
     r'one class in \[0, 4\), got \[4\]'),
    (change_third(gt_label=torch.tensor([0, 1])),
     r'one class in \[0, 4\), got \[0, 1\]'),
    (change_third(pred_score=torch.full((4, ), torch.nan)), 'not finite'),
    (lambda n, sample: 'text' if n == 2 else sample, 'no pred_score in it'),
], ids=['classes', 'no-scores', 'no-label', 'label', 'labels', 'nan', 'text'])
def test_bad_dumps_are_named(change: Callable, message: str,
                             dump: Callable) -> None:
    with pytest.raises(ValueError, match=f'dump.pkl, sample 2: .*{message}'):
        read_predictions(dump(change), 4)


def test_files_that_are_no_dump_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'dump.pkl'
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match='dump.pkl: not a list'):
        read_predictions(str(path), 4)
    path.write_bytes(b'text')
    with pytest.raises(UnreadableFileError, match='dump.pkl .* was run'):
        read_predictions(str(path), 4)


# ---- logs


def write_log(folder: Path, lines: List[dict], end: str = '\n') -> None:
    file = folder / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, lines)) + end)


def trained(step: int, loss: float) -> dict:
    return dict(lr=1e-3, loss=loss, epoch=1, iter=step, step=step)


def test_curves_of_a_resumed_training_are_one(tmp_path: Path) -> None:
    """Iterations after the checkpoint of the first start are repeated."""
    write_log(tmp_path / '20260101_000000', [
        trained(10, 3.), trained(20, 2.), {'acc/top1': 0.5, 'step': 1},
        trained(30, 9.)
    ])
    write_log(tmp_path / '20260102_000000', [
        trained(30, 1.), trained(40, .5), {'acc/top1': 0.75, 'step': 2}
    ])
    curves = read_curves(str(tmp_path))
    assert curves['loss'] == ([10, 20, 30, 40], [3., 2., 1., .5])
    assert curves['acc/top1'] == ([20, 40], [0.5, 0.75])
    one = tmp_path / '20260102_000000/vis_data/scalars.json'
    assert read_curves(str(one))['loss'] == ([30, 40], [1., .5])


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    write_log(tmp_path / 'a', [trained(10, 3.), trained(20, 2.)], end='')
    assert read_curves(str(tmp_path))['loss'] == ([10], [3.])


@pytest.mark.parametrize('text', ['no log', '[1, 2]', '{"iter": 3}'])
def test_bad_lines_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'scalars.json'
    path.write_text(json.dumps(trained(1, 1.)) + f'\n{text}\n')
    with pytest.raises(ValueError, match='scalars.json, line 2: not one'):
        read_curves(str(path))


def test_no_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}: no log'):
        read_curves(str(tmp_path))
    write_log(tmp_path / 'a', [], end='')
    with pytest.raises(ValueError, match=f'{tmp_path}: nothing was logged'):
        read_curves(str(tmp_path))


# ---- pictures


def test_plotted_curves_are_those_of_the_log(fits: Callable) -> None:
    runs = {
        name: {
            'loss': ([1, 2, 3], [3., 2., last]),
            'grad_norm': ([1, 2, 3], [9., 8., 7.]),
            'acc/top1': ([2, 3], [.5, .6])
        }
        for name, last in (('first', 1.), ('second', .5))
    }
    figure = plot_curves(runs)
    loss, rate, norm, accuracy = figure.axes
    assert [line.get_ydata()[-1] for line in loss.lines] == [1., .5]
    assert [line.get_label() for line in norm.lines] == ['first', 'second']
    assert not rate.lines and rate.texts[0].get_text() == 'not logged'
    assert list(accuracy.lines[0].get_xdata()) == [2, 3]
    assert fits(figure)


@pytest.mark.parametrize('classes', [3, 10, 100])
def test_a_confusion_of_any_number_of_classes(classes: int,
                                              fits: Callable) -> None:
    """Cells show counts if there are few classes; all names are legible."""
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    counts[1] = 0  # without clips
    counts[2, 0] = 7
    names = [f'playing instrument {number}' for number in range(classes)]
    figure = plot_confusion(counts, names, 'title')
    axes = figure.axes[0]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares.sum(1), np.arange(classes) != 1)
    assert shares[2, 0] == pytest.approx(counts[2, 0] / counts[2].sum())
    written = {
        tuple(int(value) for value in text.get_position()): text.get_text()
        for text in axes.texts
    }
    if classes <= 30:
        assert written[0, 2] == str(counts[2, 0])
        assert len(written) == (counts > 0).sum()
    else:
        assert not written
    assert fits(figure)
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == names
    boxes = [label.get_window_extent() for label in labels]
    assert all(above.y0 >= below.y1 - 1
               for above, below in zip(boxes, boxes[1:]))


def test_bars_are_accuracies(dump: Callable, fits: Callable) -> None:
    found = class_accuracies(read_predictions(dump(), 4), NAMES)
    figure = plot_classes(found, 'title')
    axes, = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0, 0.5, 1]
    assert [text.get_text() for text in axes.texts] == ['0 of 2', '1 of 2',
                                                        '1 of 1']
    assert fits(figure)


def test_a_sheet_holds_all_pictures(fits: Callable) -> None:
    pictures = [np.full((30, 20 + n, 3), n, np.uint8) for n in range(7)]
    figure = plot_sheet(pictures, [f'clip {n}\nof seven' for n in range(7)],
                        'title')
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        f'clip {n}\nof seven' for n in range(7)]
    assert (shown[3].images[0].get_array() == 3).all()
    assert fits(figure)


def test_predictions_of_one_clip() -> None:
    one = Predictions(np.array([[.5, .5]]), np.array([1]), ('', ))
    assert one.confusion().tolist() == [[0, 0], [1, 0]]
