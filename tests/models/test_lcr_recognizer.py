# Copyright (c) The mmlcr authors. All rights reserved.
"""LCRRecognizer: tube masks and views, compared with Recognizer3D."""
from typing import Any, Callable, List, Optional

import pytest
import torch
from torch import Tensor

from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.models.lcr import LCR, SLICE_FRAMES

# float32 rounding, where only the batch size differs, or where in memory
# the arrays of a product lie
TOLERANCE = 2e-6
# outputs that differ by less count as equal
DIFFERENT = 1e-2

ROWS, COLS, PATCH = 4, 3, 4


def build(redraw: Callable,
          kind: str = 'LCRRecognizer',
          **options: Any) -> BaseRecognizer:
    """A tiny recognizer of five classes with random weights."""
    config = dict(
        type=kind,
        backbone=dict(
            type='LCR',
            embed_dims=16,
            num_heads=2,
            num_layers=2,
            patch_size=PATCH),
        cls_head=dict(
            type='LCRHead', num_classes=5, in_channels=32, topk=(1, )),
        data_preprocessor=dict(
            type='ActionDataPreprocessor',
            mean=[123.675, 116.28, 103.53, 0.],
            std=[58.395, 57.12, 57.375, 255.],
            to_rgb=False,
            format_shape='NCTHW'))
    return redraw(MODELS.build({**config, **options})).eval()


def draw_inputs(samples: int = 2, views: int = 1) -> Tensor:
    """Normalised views, ``(N, views, 4, T, height, width)``."""
    return torch.randn(samples, views, 4, 3, ROWS * PATCH, COLS * PATCH)


def draw_samples(count: int = 2,
                 dropped: Optional[int] = None) -> List[ActionDataSample]:
    """Labelled samples, with tube masks if patches are to be dropped."""
    data_samples = []
    for label in range(count):
        sample = ActionDataSample().set_gt_label(label)
        if dropped is not None:
            mask = torch.zeros(ROWS * COLS, dtype=torch.bool)
            mask[torch.randperm(ROWS * COLS)[:dropped]] = True
            sample.set_field(mask.view(ROWS, COLS), 'tube_mask')
        data_samples.append(sample)
    return data_samples


@pytest.mark.parametrize('views', [1, 3], ids=['views1', 'views3'])
def test_masks_go_to_every_view_of_their_sample(
        views: int, redraw: Callable, relative_error: Callable) -> None:
    model = build(redraw)
    inputs, data_samples = draw_inputs(2, views), draw_samples(2, dropped=5)
    features, aux = model.extract_feat(inputs, data_samples=data_samples)
    assert features.shape == (2 * views, 32)
    assert aux == dict(loss_aux={})
    for n in range(2):
        mask = data_samples[n].tube_mask[None]
        for view in range(views):
            alone = model.backbone(inputs[n, view][None], mask)[0]
            feature = features[n * views + view]
            assert relative_error(feature, alone) < TOLERANCE
    unmasked, _ = model.extract_feat(inputs, data_samples=draw_samples())
    assert relative_error(features, unmasked) > DIFFERENT


def test_masks_reach_the_loss(redraw: Callable) -> None:
    model, inputs = build(redraw), draw_inputs()
    data_samples = draw_samples(2, dropped=5)
    loss = model(inputs, data_samples, mode='loss')['loss_cls']
    masks = torch.stack([s.tube_mask for s in data_samples])
    feature = model.backbone(inputs[:, 0], masks)
    expected = model.cls_head.loss(feature, data_samples)['loss_cls']
    assert loss == expected
    assert loss != model(inputs, draw_samples(), mode='loss')['loss_cls']


@pytest.mark.parametrize('views', [1, 3], ids=['views1', 'views3'])
def test_prediction_ignores_masks(views: int, redraw: Callable) -> None:
    model, inputs = build(redraw), draw_inputs(2, views)
    masked = model(inputs, draw_samples(2, dropped=5), mode='predict')
    scores = [sample.pred_score for sample in masked]
    unmasked = model(inputs, draw_samples(2), mode='predict')
    for score, sample in zip(scores, unmasked):
        assert torch.equal(score, sample.pred_score)
    feature, _ = model.extract_feat(inputs, data_samples=masked)
    tested, _ = model.extract_feat(
        inputs, data_samples=masked, test_mode=True)
    assert not torch.equal(feature, tested)
    assert torch.equal(tested, model(inputs))


@pytest.mark.parametrize('views', [1, 3], ids=['views1', 'views3'])
def test_stock_recognizer_is_the_same_without_masks(views: int,
                                                    redraw: Callable) -> None:
    ours, stock = build(redraw), build(redraw, 'Recognizer3D')
    stock.load_state_dict(ours.state_dict())
    inputs = draw_inputs(2, views)
    predicted = [
        model(inputs, draw_samples(), mode='predict')
        for model in (ours, stock)
    ]
    for mine, theirs in zip(*predicted):
        assert mine.pred_score.sum().item() == pytest.approx(1)
        assert torch.equal(mine.pred_score, theirs.pred_score)
        assert torch.equal(mine.pred_label, theirs.pred_label)
    assert torch.equal(ours(inputs), stock(inputs))
    if views == 1:  # the loss of several views needs a label for each
        losses = [
            model(inputs, draw_samples(), mode='loss')['loss_cls']
            for model in (ours, stock)
        ]
        assert losses[0].isfinite() and losses[0] == losses[1]


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('stage', ['backbone', 'neck', 'head'])
def test_stages_are_those_of_recognizer3d(stage: str, masked: bool,
                                          redraw: Callable) -> None:
    ours, stock = build(redraw), build(redraw, 'Recognizer3D')
    stock.load_state_dict(ours.state_dict())
    inputs = draw_inputs(2, 3)
    # a mask that drops nothing is another path to the same features
    data_samples = draw_samples(2, dropped=0 if masked else None)
    got, aux = ours.extract_feat(inputs, stage, data_samples)
    expected, expected_aux = stock.extract_feat(inputs, stage, data_samples)
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, atol=1e-4)
    assert aux == expected_aux


def test_batch_of_which_some_have_masks_is_refused(redraw: Callable) -> None:
    model = build(redraw)
    mixed = draw_samples(1, dropped=5) + draw_samples(2)
    with pytest.raises(ValueError, match='1 of 3 samples'):
        model(draw_inputs(3), mixed, mode='loss')


def test_masks_of_another_grid_are_refused(redraw: Callable) -> None:
    data_samples = draw_samples(2)
    for sample in data_samples:
        sample.set_field(torch.zeros(3, 4, dtype=torch.bool), 'tube_mask')
    with pytest.raises(ValueError, match=r'\(2, 3, 4\)'):
        build(redraw)(draw_inputs(), data_samples, mode='loss')


def test_to_rgb_is_refused(redraw: Callable) -> None:
    preprocessor = dict(
        type='ActionDataPreprocessor', to_rgb=True, format_shape='NCTHW')
    with pytest.raises(ValueError, match='to_rgb=True.*edge map'):
        build(redraw, data_preprocessor=preprocessor)
    # Recognizer3D can be built; the error of the backbone names the reason
    stock = build(redraw, 'Recognizer3D', data_preprocessor=preprocessor)
    frames = [torch.zeros(1, 4, 3, 16, 12, dtype=torch.uint8)]
    batch = dict(inputs=frames, data_samples=draw_samples(1))
    with pytest.raises(ValueError, match='to_rgb=True.*edge map'):
        stock.test_step(batch)


@pytest.mark.parametrize('dropped', [None, 5], ids=['whole', 'masked'])
def test_training_step_changes_every_part(dropped: Optional[int],
                                          redraw: Callable) -> None:
    """Start from uint8 frames, through the data preprocessor."""
    from mmengine.optim import OptimWrapper
    model = build(redraw).train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    frames = torch.randint(0, 256, (2, 1, 4, 3, 16, 12), dtype=torch.uint8)
    batch = dict(inputs=list(frames), data_samples=draw_samples(2, dropped))
    logs = model.train_step(batch, wrapper)
    assert logs['loss'].isfinite()
    for part in ('backbone.stem', 'backbone.edge_stem', 'backbone.zero_conv',
                 'backbone.cls_token', 'backbone.layers.0',
                 'backbone.layers.1', 'cls_head.norm', 'cls_head.fc_cls'):
        assert any(not torch.equal(v, before[k])
                   for k, v in model.state_dict().items()
                   if k.startswith(part)), part


def test_edges_reach_the_backbone_as_zero_and_one(redraw: Callable) -> None:
    model = build(redraw)
    frames = torch.zeros(1, 1, 4, 3, 16, 12, dtype=torch.uint8)
    frames[:, :, 3, :, ::2] = 255
    data = model.data_preprocessor(
        dict(inputs=list(frames), data_samples=draw_samples(1)))
    edges = data['inputs'][:, :, 3]
    assert (edges[..., ::2, :] == 1).all() and (edges[..., 1::2, :] == 0).all()
    red = data['inputs'][:, :, 0]
    assert red.flatten().tolist() == pytest.approx([-123.675 / 58.395] * 576)


def test_bytes_in_float64(redraw: Callable,
                          relative_error: Callable) -> None:
    """They are normalized in the model's own precision."""
    normalization = dict(
        mean=[123.675, 116.28, 103.53, 0.],
        std=[58.395, 57.12, 57.375, 255.],
        format_shape='NCTHW')
    model = build(
        redraw,
        data_preprocessor=dict(type='LCRDataPreprocessor', **normalization))
    clip = torch.randint(256, (1, 4, 3, 16, 12), dtype=torch.uint8)
    with torch.no_grad():
        single = model.backbone(clip)
        double = model.double().backbone(clip)
    assert double.dtype == torch.float64
    assert relative_error(single, double) < TOLERANCE


def test_bytes_are_converted_slice_by_slice(redraw: Callable,
                                            relative_error: Callable,
                                            monkeypatch: pytest.MonkeyPatch
                                            ) -> None:
    """Scores equal those of a clip that is normalized at once."""
    normalization = dict(
        mean=[100., 110., 120., 0.],
        std=[50., 55., 60., 255.],
        format_shape='NCTHW')
    whole, sliced = (
        build(redraw, data_preprocessor=dict(type=name, **normalization))
        for name in ('ActionDataPreprocessor', 'LCRDataPreprocessor'))
    sliced.load_state_dict(whole.state_dict())
    T, seen = SLICE_FRAMES + 2, []
    clips = [
        torch.randint(256, (3, 4, T, 16, 12), dtype=torch.uint8)
        for _ in range(2)
    ]
    scores = []
    run = LCR._run

    def watched(self: LCR, clip: Tensor, *args: Any) -> Any:
        seen.append((clip.dtype, clip.shape[2]))
        return run(self, clip, *args)

    monkeypatch.setattr(LCR, '_run', watched)
    for model in (whole, sliced):
        with torch.no_grad():
            batch = dict(inputs=clips, data_samples=draw_samples(2))
            scores.append([s.pred_score for s in model.test_step(batch)])
    for expected, got in zip(*scores):
        assert relative_error(got, expected) < TOLERANCE
    assert seen == [(dtype, length) for dtype in (torch.float32, torch.uint8)
                    for length in (SLICE_FRAMES, 2)]
    inputs, _ = sliced.data_preprocessor.preprocess(clips, [], training=True)
    assert inputs.dtype == torch.float32


def test_bytes_that_nobody_converts_are_refused(redraw: Callable) -> None:
    model = build(redraw)
    with pytest.raises(ValueError, match='LCRDataPreprocessor'):
        model(torch.zeros(1, 1, 4, 3, 16, 12, dtype=torch.uint8))


def test_another_format_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="'NCHW'"):
        MODELS.build(dict(type='LCRDataPreprocessor', format_shape='NCHW'))
