# Copyright (c) The mmlcr authors. All rights reserved.
"""Learning curves from training logs, and errors from test predictions."""
import json
import os.path as osp
from glob import glob
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
from torch import Tensor

from mmaction.evaluation import confusion_matrix, mean_average_precision
from mmlcr.engine import read_dump

# deviation of the sum of probabilities from one; scores may be bfloat16
PROBABILITY_TOLERANCE = 1e-3
SMALLEST = np.finfo(np.float32).tiny  # clamp of probabilities before log

# name -> (iterations, values)
Curves = Dict[str, Tuple[List[int], List[float]]]


class Predictions(NamedTuple):
    """Predicted scores and true labels of ``N`` clips with one label each."""
    scores: np.ndarray  # (N, classes), probabilities
    labels: np.ndarray  # (N, )
    paths: Tuple[str, ...]  # of the clips; '' if unknown

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class of each clip, shape ``(N, )``."""
        return self.scores.argmax(1)

    @property
    def losses(self) -> np.ndarray:
        """Cross entropy of each clip, shape ``(N, )``."""
        right = np.take_along_axis(self.scores, self.labels[:, None], 1)[:, 0]
        return -np.log(np.maximum(right, SMALLEST))

    def confusion(self) -> np.ndarray:
        """Confusion matrix, counts, ``(true classes, predicted classes)``."""
        classes = self.scores.shape[1]
        counts = np.zeros((classes, classes), int)
        # MMAction2's function leaves out classes that occur in neither
        known = np.unique([self.labels, self.predicted])
        counts[np.ix_(known, known)] = confusion_matrix(
            self.predicted, self.labels)
        return counts


class MultiLabelPredictions(NamedTuple):
    """Predicted scores and true labels of ``N`` multi-label clips."""
    scores: np.ndarray  # (N, classes), an independent probability each
    labels: np.ndarray  # (N, classes), bool
    paths: Tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """Whether each score exceeds 0.5, bool, ``(N, classes)``."""
        return self.scores > 0.5

    @property
    def losses(self) -> np.ndarray:
        """Binary cross entropy of each clip, shape ``(N, )``."""
        right = np.where(self.labels, self.scores, 1 - self.scores)
        return -np.log(np.maximum(right, SMALLEST)).mean(1)


class ClassAccuracy(NamedTuple):
    """Accuracy of one class."""
    name: str
    clips: int  # of this class
    right: int  # classified correctly

    @property
    def accuracy(self) -> float:
        """Share of correctly classified clips; NaN without clips."""
        return self.right / self.clips if self.clips else float('nan')

    @property
    def value(self) -> float:
        """The length of the bar in :func:`plot_classes`."""
        return self.accuracy

    def __str__(self) -> str:
        return f'{self.right} of {self.clips}'


class ClassPrecision(NamedTuple):
    """Average precision of one class in multi-label predictions."""
    name: str
    clips: int  # with this label
    average_precision: float  # NaN without clips

    @property
    def value(self) -> float:
        """The length of the bar in :func:`plot_classes`."""
        return self.average_precision

    def __str__(self) -> str:
        return f'{self.clips} clips'


class Confused(NamedTuple):
    """Number of clips of one class that were classified as another."""
    true: int
    predicted: int
    clips: int
    total: int  # all clips of the true class


def read_predictions(
        path: str,
        num_classes: int) -> Union[Predictions, MultiLabelPredictions]:
    """Read the predictions that ``mmlcr test --dump`` wrote.

    Scores that are not probabilities (``average_clips='score'``) go through
    softmax, those of multi-label clips through the sigmoid. A clip is
    multi-label if its ``gt_label`` has a number for each class.

    Args:
        path (str): Pickle file.
        num_classes (int): Number of classes of the config.

    Raises:
        UnreadableFileError: If the file can't be read, or its pickle needs
            other types than predictions do.
        ValueError: If the file holds no predictions, or predictions for
            another number of classes.
    """
    samples = read_dump(path)
    if not isinstance(samples, list) or not samples:
        raise ValueError(f'{path}: not a list of predictions')
    rows: List[np.ndarray] = []
    labels: List[np.ndarray] = []
    paths, several = [], False
    for number, sample in enumerate(samples):
        where = f'{path}, sample {number}'
        row = _field(sample, 'pred_score', where)
        label = _field(sample, 'gt_label', where)
        if row.shape != (num_classes, ):
            raise ValueError(f'{where}: {row.size} scores for {num_classes} '
                             'classes of the config')
        if not np.isfinite(row).all():
            raise ValueError(f'{where}: scores that are not finite')
        is_several = label.shape == row.shape and num_classes > 1
        if not labels:
            several = is_several
        if several != is_several or not (
                np.isin(label, (0, 1)).all() if several else label.size == 1
                and 0 <= label.item() < num_classes):
            kind = ('zero or one for each class' if several else
                    f'one class in [0, {num_classes})')
            raise ValueError(f'{where}: gt_label must be {kind}, got '
                             f'{label.tolist()}')
        rows.append(row)
        labels.append(label)
        paths.append(str(sample.get('path', '')))
    scores = np.stack(rows).astype(np.float64)
    if several:
        if (scores < 0).any() or (scores > 1).any():
            scores = np.exp(-np.logaddexp(0, -scores))  # sigmoid
        return MultiLabelPredictions(scores, np.stack(labels) == 1,
                                     tuple(paths))
    if (scores < 0).any() or (np.abs(scores.sum(1) - 1) >
                              PROBABILITY_TOLERANCE).any():
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    return Predictions(scores, np.stack(labels).reshape(-1).astype(np.int64),
                       tuple(paths))


def class_accuracies(predictions: Predictions,
                     names: Sequence[str]) -> List[ClassAccuracy]:
    """Accuracy by class, worst first; classes without clips come last."""
    counts = predictions.confusion()
    found = [
        ClassAccuracy(name, int(row.sum()), int(row[index]))
        for index, (name, row) in enumerate(zip(names, counts))
    ]
    return sorted(
        found, key=lambda c: (c.clips == 0, c.clips and c.accuracy))


def class_precisions(predictions: MultiLabelPredictions,
                     names: Sequence[str]) -> List[ClassPrecision]:
    """Average precision by class, worst first, those without clips last."""
    found = []
    for name, scores, labels in zip(names, predictions.scores.T,
                                    predictions.labels.T):
        clips = int(labels.sum())
        precision = float('nan')
        if clips:  # MMAction2's function divides by their number
            precision = float(
                mean_average_precision(scores[:, None], labels[:, None]))
        found.append(ClassPrecision(name, clips, precision))
    return sorted(
        found, key=lambda c: (c.clips == 0, c.clips and c.average_precision))


def most_confused(counts: np.ndarray, num: int) -> List[Confused]:
    """The ``num`` largest off-diagonal counts, most clips first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind='stable')[:num]
    pairs = zip(*(indices.tolist()
                  for indices in np.unravel_index(order, wrong.shape)))
    return [
        Confused(true, predicted, int(wrong[true, predicted]),
                 int(counts[true].sum())) for true, predicted in pairs
        if wrong[true, predicted]
    ]


def worst_clips(predictions: Union[Predictions, MultiLabelPredictions],
                num: int) -> List[int]:
    """Indices of the ``num`` clips with the highest loss, worst first."""
    return np.argsort(-predictions.losses, kind='stable')[:num].tolist()


def read_curves(path: str) -> Curves:
    """Read the scalars that a training logged.

    A resumed training has one log per start; where logs overlap, the later
    one counts.

    Args:
        path (str): MMEngine's ``vis_data/scalars.json``, or a work dir.

    Returns:
        dict: Iterations and values by the name of the scalar. Metrics of an
        epoch's validation are at the last iteration before it.

    Raises:
        FileNotFoundError: If there is no such file, or no log in the work
            dir.
        ValueError: If a line is not one of a log.
    """
    files = [path]
    if osp.isdir(path):
        files = sorted(glob(osp.join(path, '*', 'vis_data', 'scalars.json')))
        if not files:
            raise FileNotFoundError(
                f'{path}: no log, */vis_data/scalars.json, in this folder')
    curves: Curves = {}
    for file in files:
        points = _read_points(file)
        if not points:
            continue
        first = points[0][0]
        for steps, values in curves.values():
            while steps and steps[-1] >= first:
                steps.pop(), values.pop()
        for step, logged in points:
            for name, value in logged.items():
                steps, values = curves.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    if not curves:
        raise ValueError(f'{path}: nothing was logged')
    return curves


def _read_points(file: str) -> List[Tuple[int, Dict[str, float]]]:
    """Read one log: (iteration, logged values) by line."""
    points, iteration = [], 0
    with open(file) as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith('\n'):  # the run was killed while writing
                break
            try:
                logged = json.loads(line)
                if 'iter' in logged:
                    iteration = logged['step']
                values = {
                    name: float(value)
                    for name, value in logged.items()
                    if isinstance(value, (int, float))
                }
            except (AttributeError, KeyError, TypeError,
                    ValueError) as error:
                raise ValueError(f'{file}, line {number}: not one of a log: '
                                 f'{line[:60]!r}') from error
            points.append((iteration, values))
    return points


def _field(sample: Any, name: str, where: str) -> np.ndarray:
    """Return a tensor of a sample as an array."""
    value = sample.get(name) if isinstance(sample, dict) else None
    if not isinstance(value, (Tensor, np.ndarray)):
        raise ValueError(f'{where}: no {name} in it')
    if isinstance(value, Tensor) and value.is_floating_point():
        value = value.float()  # numpy has no bfloat16
    return np.asarray(value)
