# Copyright (c) The mmlcr authors. All rights reserved.
"""MMEngine's features for training: frozen parameters, averaged weights."""
import copy
from pathlib import Path
from typing import Any, Callable, Dict

import torch
from lcr_cases import draw_clip
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.models import LCRRecognizer

SMALL = dict(embed_dims=24, num_heads=2, num_layers=2, patch_size=4)
# float32 rounding, where another backend computes the same
SAME = 1e-5


def infer(model: nn.Module, clip: Tensor) -> Tensor:
    with torch.no_grad():
        return model(clip)


def build_recognizer(redraw: Callable) -> LCRRecognizer:
    return redraw(
        MODELS.build(
            dict(
                type='LCRRecognizer',
                backbone=dict(type='LCR', **SMALL),
                cls_head=dict(
                    type='LCRHead', num_classes=5, in_channels=48),
                data_preprocessor=dict(
                    type='LCRDataPreprocessor',
                    mean=[123.675, 116.28, 103.53, 0.],
                    std=[58.395, 57.12, 57.375, 255.],
                    format_shape='NCTHW'))))


class Noise(Dataset):
    """A few labelled uint8 clips."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.clips = torch.randint(
            256, (4, 1, 4, 3, 20, 16), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict:
        sample = ActionDataSample().set_gt_label(index)
        return dict(inputs=self.clips[index], data_samples=sample)


def batch() -> Dict[str, list]:
    items = [Noise()[index] for index in range(4)]
    return {key: [item[key] for item in items] for key in items[0]}


def train_step(model: LCRRecognizer, paramwise_cfg: Any = None) -> set:
    """Names of the parameters that a step of SGD changed."""
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1),
            paramwise_cfg=paramwise_cfg))
    before = {k: v.clone() for k, v in model.named_parameters()}
    model.train().train_step(batch(), wrapper)
    return {
        name
        for name, weight in model.named_parameters()
        if not torch.equal(weight, before[name])
    }


def test_paramwise_lr_mult_of_zero_freezes(redraw: Callable) -> None:
    model = build_recognizer(redraw)
    frozen = {
        name
        for name, _ in model.named_parameters()
        if name.startswith(('backbone.layers.0.', 'backbone.stem.'))
    }
    no_rate = dict(lr_mult=0.)
    changed = train_step(
        model,
        dict(custom_keys={
            'backbone.layers.0': no_rate,
            'backbone.stem': no_rate
        }))
    assert frozen and not changed & frozen
    assert any(name.startswith('backbone.layers.1.') for name in changed)
    assert any(name.startswith('cls_head.') for name in changed)


def test_frozen_parameters_stay_and_others_learn_the_same(
        redraw: Callable) -> None:
    free = build_recognizer(redraw)
    part = copy.deepcopy(free)
    for module in (part.backbone.stem, part.backbone.layers[0]):
        module.requires_grad_(False)
    frozen = {k for k, v in part.named_parameters() if not v.requires_grad}
    changed = train_step(part)
    assert frozen and not changed & frozen
    train_step(free)
    expected = dict(free.named_parameters())
    for name in changed:
        torch.testing.assert_close(
            part.get_parameter(name), expected[name], rtol=SAME, atol=SAME)
    features = [infer(m.eval().backbone, draw_clip()) for m in (free, part)]
    assert not torch.equal(*features)


def test_ema_hook_validates_averaged_weights(redraw: Callable,
                                             tmp_path: Path) -> None:
    """Validation runs with the averaged weights that are swapped in."""
    dataset, scores = Noise(), []

    class Collect(Hook):

        def after_val_iter(self, runner: Runner, batch_idx: int,
                           data_batch: Any, outputs: Any) -> None:
            scores.extend(sample.pred_score for sample in outputs)

    class Metric:
        """Of nothing."""
        dataset_meta: Any = None

        def process(self, *args: Any, **kwargs: Any) -> None:
            pass

        def evaluate(self, size: int) -> dict:
            return {}

    loader = dict(
        dataset=dataset,
        batch_size=2,
        num_workers=0,
        collate_fn=dict(type='pseudo_collate'))
    ema = EMAHook(momentum=0.5)
    runner = Runner(
        build_recognizer(redraw),
        str(tmp_path),
        train_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        val_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        val_cfg=dict(),
        val_evaluator=[Metric()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[ema, Collect()],
        default_scope='mmaction',
        experiment_name=tmp_path.name)
    runner.train()
    assert len(scores) == 2 * len(dataset)

    def predict(model: LCRRecognizer) -> Tensor:
        with torch.no_grad():
            data = model.data_preprocessor(batch())
            samples = model(**data, mode='predict')
        return torch.stack([sample.pred_score for sample in samples])

    averaged = copy.deepcopy(ema.ema_model.module).eval()
    last = torch.stack(scores[-len(dataset):])
    torch.testing.assert_close(predict(averaged), last, rtol=SAME, atol=SAME)
    trained = predict(runner.model.eval())
    assert (trained - last).abs().max() > 1e-4
