# Copyright (c) The mmlcr authors. All rights reserved.
"""The head: equation (11), its losses and its views."""
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.deploy.onnx_step import view_scores
from mmlcr.models import LCRHead

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# float32 sums over 32 channels
TOLERANCE = 1e-5


def build(**options: Any) -> BaseHead:
    """A head for 32 channels and 5 classes."""
    config = dict(type='LCRHead', num_classes=5, in_channels=32, topk=(1, ))
    return MODELS.build({**config, **options}).eval()


def samples(*labels: int) -> list:
    return [ActionDataSample().set_gt_label(label) for label in labels]


def test_scores_are_eq_11(redraw: Callable) -> None:
    head = redraw(build())
    assert type(head) is LCRHead
    x = torch.randn(3, 32)
    mean, variance = x.mean(1, True), x.var(1, correction=0, keepdim=True)
    normed = (x - mean) / (variance + 1e-5).sqrt()
    normed = normed * head.norm.weight + head.norm.bias
    expected = normed @ head.fc_cls.weight.T + head.fc_cls.bias
    assert (head(x) - expected).abs().max() < TOLERANCE
    # recognizers pass this argument
    assert torch.equal(head(x, loss_aux={}), head(x))


@pytest.mark.parametrize('smoothing', [0., 0.1], ids=['hard', 'smooth'])
def test_loss_is_cross_entropy(smoothing: float, redraw: Callable) -> None:
    head = redraw(build(label_smooth_eps=smoothing))
    x = torch.randn(3, 32)
    log_p = F.log_softmax(head(x), dim=1)
    target = torch.full((3, 5), smoothing / 5)
    target[range(3), [4, 0, 2]] += 1 - smoothing
    expected = -(target * log_p).sum(1).mean()
    losses = head.loss(x, samples(4, 0, 2))
    assert abs(losses['loss_cls'] - expected) < TOLERANCE
    right = (head(x).argmax(1) == torch.tensor([4, 0, 2])).double().mean()
    assert losses['top1_acc'] == right


def test_loss_of_several_frames_is_their_mean(redraw: Callable) -> None:
    head = redraw(build())
    x, truth = torch.randn(2, 3, 32), samples(4, 1)
    losses = head.loss(x, truth)
    each = [head.loss(frame, truth) for frame in x.unbind(1)]
    for name in ('loss_cls', 'top1_acc'):
        expected = torch.stack([torch.as_tensor(l[name]) for l in each]).mean()
        assert abs(losses[name] - expected) < TOLERANCE


@pytest.mark.parametrize('average', ['prob', 'score'])
def test_views_are_averaged(average: str, redraw: Callable) -> None:
    head = redraw(build(average_clips=average))
    x = torch.randn(6, 32)
    scores = head(x).view(2, 3, 5)  # two samples of three views
    if average == 'prob':
        scores = scores.softmax(-1)
    for predicted, expected in zip(
            head.predict(x, samples(0, 0)), scores.mean(1)):
        assert (predicted.pred_score - expected).abs().max() < TOLERANCE
        assert predicted.pred_label == expected.argmax()


def test_probabilities_are_the_default() -> None:
    head = build()
    predicted, = head.predict(torch.randn(2, 32), samples(0))
    assert predicted.pred_score.sum().item() == pytest.approx(1)


def many_hot(*labels: tuple) -> list:
    """Samples of several labels each, of five classes."""
    vectors = torch.zeros(len(labels), 5)
    for vector, of_one in zip(vectors, labels):
        vector[list(of_one)] = 1
    return [ActionDataSample().set_gt_label(vector) for vector in vectors]


@pytest.mark.parametrize('smoothing', [0., 0.1], ids=['hard', 'smooth'])
@pytest.mark.parametrize('labels', [[(1, 3), (), (0, 2, 4)], [(1, 3)]],
                         ids=['B3', 'B1'])
def test_loss_of_several_labels_is_binary(labels: list, smoothing: float,
                                          redraw: Callable) -> None:
    head = redraw(build(multi_class=True, label_smooth_eps=smoothing))
    x, truth = torch.randn(len(labels), 32), many_hot(*labels)
    p = 1 / (1 + (-head(x)).exp())
    target = torch.stack([sample.gt_label for sample in truth])
    target = (1 - smoothing) * target + smoothing / 5
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    losses = head.loss(x, truth)
    assert {*losses} == {'loss_cls'}
    assert abs(losses['loss_cls'] - expected) < TOLERANCE
    frames = torch.stack([x, x + 1], 1)  # the mean of several frames
    both = [head.loss(f, truth)['loss_cls'] for f in frames.unbind(1)]
    assert abs(head.loss(frames, truth)['loss_cls'] - sum(both) / 2
               ) < TOLERANCE


@pytest.mark.parametrize('loss', [None, dict(type='CrossEntropyLoss')],
                         ids=['binary', 'softmax'])
def test_probabilities_of_several_labels(loss: Any, redraw: Callable) -> None:
    """They are independent, unless the loss is a cross entropy."""
    head = redraw(build(multi_class=True, loss_cls=loss))
    x = torch.randn(6, 32)
    scores = head(x).view(2, 3, 5)
    expected = 1 / (1 + (-scores).exp()) if loss is None else (
        scores.softmax(-1))
    for sample, row in zip(
            head.predict(x, many_hot((1, ), ())), expected.mean(1)):
        assert (sample.pred_score - row).abs().max() < TOLERANCE
    assert (view_scores(head, x) - expected.flatten(0, 1)).abs().max(
    ) < TOLERANCE


def test_several_labels_with_a_loss_on_several_frames() -> None:
    """The attention readout of the Weizmann config, five frames a clip."""
    config = Config.fromfile(CONFIGS / 'lcr_weizmann.py')
    config.merge_from_dict({'model.cls_head.multi_class': True,
                            'model.cls_head.num_classes': 5,
                            'model.cls_head.label_smooth_eps': 0.})
    model = MODELS.build(config.model)
    truth = many_hot((0, 3), ())
    clips = torch.randint(0, 256, (2, 1, 4, 8, 64, 80), dtype=torch.uint8)
    batch = model.data_preprocessor(
        dict(inputs=[*clips], data_samples=truth), training=True)
    features = model.backbone(batch['inputs'].flatten(0, 1))
    assert features.shape[:2] == (2, 5)
    target = torch.stack([sample.gt_label for sample in truth])
    expected = F.binary_cross_entropy(
        model.cls_head(features).sigmoid(), target[:, None].expand(2, 5, 5))
    loss = model(**batch, mode='loss')['loss_cls']
    assert abs(loss - expected) < TOLERANCE
    loss.backward()
    assert all(p.grad is not None for p in model.cls_head.parameters())


def test_labels_of_another_kind_are_refused() -> None:
    x = torch.randn(2, 32)
    with pytest.raises(ValueError, match=r'\(5,\).* multi_class=False'):
        build().loss(x, many_hot((1, ), (1, 3)))
    with pytest.raises(ValueError, match=r'\(1,\).* multi_class=True'):
        build(multi_class=True).loss(x, samples(1, 2))
    mixed = [ActionDataSample().set_gt_label(torch.tensor(
        [0.3, 0.7, 0., 0., 0.])) for _ in range(2)]
    assert build().loss(x, mixed)['loss_cls'] > 0


def test_dropout_acts_in_training_alone(redraw: Callable) -> None:
    head = redraw(build(dropout_ratio=0.5))
    x = torch.randn(4, 32)
    assert torch.equal(head(x), head(x))
    head.train()
    assert not torch.equal(head(x), head(x))
    dropped = []
    head.fc_cls.register_forward_hook(
        lambda layer, inputs, output: dropped.append(inputs[0] == 0))
    head(torch.randn(200, 32))
    # 6,400 draws: five deviations of the frequency are 0.03
    assert dropped[0].float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_no_dropout_by_default(redraw: Callable) -> None:
    head = redraw(build()).train()
    x = torch.randn(4, 32)
    assert torch.equal(head(x), head(x))


def test_initial_scores_are_small() -> None:
    head = build(num_classes=200)
    head.init_weights()
    weight = head.fc_cls.weight
    # 6,400 draws: the deviation is known to one part in a hundred
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not head.fc_cls.bias.any()
