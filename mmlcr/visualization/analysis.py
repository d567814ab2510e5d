# Copyright (c) The mmlcr authors. All rights reserved.
"""What a training's log and a test's predictions tell."""
import json
import os.path as osp
from glob import glob
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
from torch import Tensor

from mmaction.evaluation import confusion_matrix, mean_average_precision
from mmlcr.engine import read_dump

PROBABILITY_TOLERANCE = 1e-3  # of their sum; they may be bfloat16's
SMALLEST = np.finfo(np.float32).tiny  # a probability that has a logarithm

# by name: steps, and values there
Curves = Dict[str, Tuple[List[int], List[float]]]


class Predictions(NamedTuple):
    """What a model made of ``N`` clips, and what would have been right."""
    scores: np.ndarray  # (N, classes), probabilities
    labels: np.ndarray  # (N, )
    paths: Tuple[str, ...]  # of the clips, '' where they are not known

    @property
    def predicted(self) -> np.ndarray:
        """The class of each, shape ``(N, )``."""
        return self.scores.argmax(1)

    @property
    def losses(self) -> np.ndarray:
        """Cross entropy of each, shape ``(N, )``."""
        right = np.take_along_axis(self.scores, self.labels[:, None], 1)[:, 0]
        return -np.log(np.maximum(right, SMALLEST))

    def confusion(self) -> np.ndarray:
        """Counts, true classes in rows, shape ``(classes, classes)``."""
        classes = self.scores.shape[1]
        counts = np.zeros((classes, classes), int)
        # that of MMAction2 leaves out what is neither true nor predicted
        known = np.unique([self.labels, self.predicted])
        counts[np.ix_(known, known)] = confusion_matrix(
            self.predicted, self.labels)
        return counts


class MultiLabelPredictions(NamedTuple):
    """The same of clips that have any number of labels each."""
    scores: np.ndarray  # (N, classes), a probability each
    labels: np.ndarray  # (N, classes), bool
    paths: Tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """Whether each class is more probable than not, ``(N, classes)``."""
        return self.scores > 0.5

    @property
    def losses(self) -> np.ndarray:
        """Binary cross entropy of each, shape ``(N, )``."""
        right = np.where(self.labels, self.scores, 1 - self.scores)
        return -np.log(np.maximum(right, SMALLEST)).mean(1)


class ClassAccuracy(NamedTuple):
    """Of the clips of a class."""
    name: str
    clips: int
    right: int

    @property
    def accuracy(self) -> float:
        """Share that is right; NaN without clips."""
        return self.right / self.clips if self.clips else float('nan')

    @property
    def value(self) -> float:
        """What is drawn."""
        return self.accuracy

    def __str__(self) -> str:
        return f'{self.right} of {self.clips}'


class ClassPrecision(NamedTuple):
    """Of a class that clips have among others."""
    name: str
    clips: int  # that have it
    average_precision: float  # NaN without clips

    @property
    def value(self) -> float:
        """What is drawn."""
        return self.average_precision

    def __str__(self) -> str:
        return f'{self.clips} clips'


class Confused(NamedTuple):
    """Clips of one class that were taken for another."""
    true: int
    predicted: int
    clips: int
    of: int  # clips of the true class


def read_predictions(
        path: str,
        num_classes: int) -> Union[Predictions, MultiLabelPredictions]:
    """Read what ``tools/test.py --dump`` wrote.

    Scores that are no probabilities, as of a head that averages scores, are
    turned into such. Clips of several labels are those whose ``gt_label`` has
    a number for each class.

    Args:
        path (str): Of the pickle file.
        num_classes (int): As of the config.

    Raises:
        UnreadableFileError: If it can't be read, or carries more than
            predictions.
        ValueError: If it holds no predictions, or for other classes.
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
    """Of each class, the worst first; those without clips come last."""
    counts = predictions.confusion()
    found = [
        ClassAccuracy(name, int(row.sum()), int(row[index]))
        for index, (name, row) in enumerate(zip(names, counts))
    ]
    return sorted(
        found, key=lambda c: (c.clips == 0, c.clips and c.accuracy))


def class_precisions(predictions: MultiLabelPredictions,
                     names: Sequence[str]) -> List[ClassPrecision]:
    """Of each class, the worst first; those without clips come last."""
    found = []
    for name, scores, labels in zip(names, predictions.scores.T,
                                    predictions.labels.T):
        clips = int(labels.sum())
        precision = float('nan')
        if clips:  # that of MMAction2 divides by their number
            precision = float(
                mean_average_precision(scores[:, None], labels[:, None]))
        found.append(ClassPrecision(name, clips, precision))
    return sorted(
        found, key=lambda c: (c.clips == 0, c.clips and c.average_precision))


def most_confused(counts: np.ndarray, num: int) -> List[Confused]:
    """Which classes are taken for which others, most clips first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind='stable')[:num]
    pairs = zip(*(places.tolist()
                  for places in np.unravel_index(order, wrong.shape)))
    return [
        Confused(true, predicted, int(wrong[true, predicted]),
                 int(counts[true].sum())) for true, predicted in pairs
        if wrong[true, predicted]
    ]


def worst_clips(predictions: Union[Predictions, MultiLabelPredictions],
                num: int) -> List[int]:
    """Numbers of the clips with the highest losses, the worst first."""
    return np.argsort(-predictions.losses, kind='stable')[:num].tolist()


def read_curves(path: str) -> Curves:
    """What a training logged, over its iterations.

    Args:
        path (str): A file of MMEngine's, ``vis_data/scalars.json``, or a work
            dir. Of a training that was resumed, which has a file for each
            start, each goes on where the next one began.

    Returns:
        dict: Of each value its iterations and itself; what is measured after
        an epoch is at the last iteration before.

    Raises:
        FileNotFoundError: If there is no such file, or none in the work dir.
        ValueError: If a line is none of a log.
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
    """Iterations, and what was logged there."""
    points, iteration = [], 0
    with open(file) as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith('\n'):  # killed while it was written
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
    """A tensor of a sample, as an array."""
    value = sample.get(name) if isinstance(sample, dict) else None
    if not isinstance(value, (Tensor, np.ndarray)):
        raise ValueError(f'{where}: no {name} in it')
    if isinstance(value, Tensor) and value.is_floating_point():
        value = value.float()  # numpy has no bfloat16
    return np.asarray(value)
