# Copyright (c) The mmlcr authors. All rights reserved.
"""One equality for every way to execute LCR, against the reference.

:func:`check` builds a small model with a backend and a set of options, and
compares what it computes of a clip, a stream, a masked clip, a clip of bytes,
and in training with the equations in float64 (:mod:`reference`). A new
backend joins by its name in :func:`mmlcr.backends.backend_names`, a new option
by a line of :data:`OPTIONS`.
"""
import functools
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import pytest
import torch
from reference import reference_features
from torch import Tensor
from weights import draw_weights

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.backends import get_backend
from mmlcr.models import LCR, LCRRecognizer

ROWS, COLS, PATCH = 4, 3, 4
BATCH, FRAMES = 2, 3
# frames of a clip on which a loss is put in training
SUPERVISED = 2
SMALL = dict(embed_dims=24, num_heads=2, num_layers=2, patch_size=PATCH)
RESIDUAL = dict(type='CrossRWKVLayer', residual=True)
VRWKV6 = dict(type='VRWKV6Layer')
POST_NORM = dict(type='VRWKV6Layer', post_norm=True, layer_scale=0.1)
OPTIONS: Dict[str, dict] = {
    'defaults': dict(num_layers=3),
    'paper': dict(
        cell='paper', temporal_shift=False, hidden_rate=4, readout='cls'),
    'cell-clip': dict(cell='paper', cell_clip=2., readout='attention'),
    'conv-both': dict(stem='conv', stem_input='both'),
    'difference': dict(stem_input='difference', readout='cls'),
    'no-edges': dict(edge_prompt=False, with_cp=True),
    'residual': dict(layer=RESIDUAL, temporal_shift=False),
    'position': dict(position_grid=(ROWS, COLS), stem='conv'),
    'no-rotary': dict(position_grid=(2, 5), rotary=False),
    'vrwkv6': dict(layer=VRWKV6, rotary=False),
    'vrwkv6-post-norm': dict(
        layer=POST_NORM,
        position_grid=(ROWS, COLS),
        with_cp=True),
    'vrwkv6-no-shift': dict(
        layer=VRWKV6,
        temporal_shift=False,
        cell='paper',
        stem_input='both',
        readout='attention'),
}
# relative errors in norm
TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5}
# share of the largest norm of a gradient that smaller ones are measured by
SMALLEST = {torch.float64: 1e-3, torch.float32: 0.1}
# RGB and edge map
MEAN, STD = (123.675, 116.28, 103.53, 0.), (58.395, 57.12, 57.375, 255.)
# backends that must run everything, so that nothing is skipped for them
COMPLETE = ('auto', 'module', 'eager')
# minutes of compilation
SLOW = ('inductor', )


def build(backend: str, **options: Any) -> LCRRecognizer:
    """A recognizer with a small LCR that is executed by a backend."""
    backbone = dict(
        type='LCR', backend=backend, **{**SMALL, **options})
    return MODELS.build(
        dict(
            type='LCRRecognizer',
            backbone=backbone,
            cls_head=dict(
                type='LCRHead',
                num_classes=2,
                in_channels=2 * backbone['embed_dims']),
            data_preprocessor=dict(
                type='LCRDataPreprocessor',
                mean=MEAN,
                std=STD,
                format_shape='NCTHW')))


# ---- what the reference says


class Case(NamedTuple):
    """Inputs of a model, and what the equations make of them, in float64."""
    weights: Dict[str, Tensor]  # float32
    clip: Tensor  # (B, 4, T, height, width), float32
    mask: Tensor  # (B, rows, cols)
    pixels: Tensor  # (B, 4, T, height, width), bytes
    features: Tensor  # of the clip, (B, T, 2D)
    masked: Tensor  # of the clip with the mask, (B, T, 2D)
    of_bytes: Tensor  # of the normalized pixels, (B, T, 2D)
    direction: Tensor  # of the gradients, (B, SUPERVISED, 2D)
    gradients: Dict[str, Tensor]  # of weights and clip, with the mask


@functools.lru_cache(maxsize=None)
def make_case(name: str) -> Case:
    """The case of a set of options, the same in every process."""
    options = {**SMALL, **OPTIONS[name]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(map(ord, name)))
        model = LCR(**options)
        # with larger weights, rounding grows from frame to frame, and in some
        # draws float32 alone changes gradients by more than 1e-5
        draw_weights(model, matrices=0.6, vectors=0.3)
        size = BATCH, 4, FRAMES, ROWS * PATCH, COLS * PATCH
        clip, pixels = torch.randn(size), torch.randint(256, size)
        pixels[:, 3] = 255 * (pixels[:, 3] > 200)
        mask = torch.rand(BATCH, ROWS * COLS).argsort(1) < 5
        mask = mask.view(BATCH, ROWS, COLS)
        direction = torch.randn(BATCH, SUPERVISED, 2 * options['embed_dims'])
    clip[:, 3] = (clip[:, 3] > 1).float()
    pixels = pixels.to(torch.uint8)
    weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def features(clip: Tensor,
                 mask: Optional[Tensor] = None,
                 weights: Dict[str, Tensor] = weights) -> Tensor:
        return torch.stack([
            reference_features(weights, options, sample,
                               None if mask is None else mask[index])
            for index, sample in enumerate(clip)
        ])

    leaves = {k: v.double().requires_grad_() for k, v in weights.items()}
    leaves['clip'] = clip.double().requires_grad_()
    masked = features(leaves['clip'], mask, leaves)
    (masked[:, -SUPERVISED:] * direction).sum().backward()
    gradients = {
        k: torch.zeros_like(v) if v.grad is None else v.grad
        for k, v in leaves.items()
    }
    mean, std = (
        torch.tensor(t).double().view(-1, 1, 1, 1) for t in (MEAN, STD))
    return Case(weights, clip, mask, pixels, features(clip), masked.detach(),
                features((pixels - mean) / std), direction.double(), gradients)


# ---- what a backend makes of the same


Pairs = List[Tuple[str, Tensor, Tensor]]


def run_clip(model: LCRRecognizer, case: Case, clip: Tensor) -> Pairs:
    """A clip at once."""
    return [('feature', model.backbone(clip), case.features[:, -1])]


def run_mask(model: LCRRecognizer, case: Case, clip: Tensor) -> Pairs:
    """A clip with dropped patches, other ones in each sample."""
    feature = model.backbone(clip, case.mask)
    return [('feature', feature, case.masked[:, -1])]


def run_stream(model: LCRRecognizer, case: Case, clip: Tensor) -> Pairs:
    """Frame by frame; then one frame and a slice of all others."""
    pairs, state = [], None
    for t, frame in enumerate(clip.unbind(2)):
        feature, state = model.backbone.forward_step(frame, state)
        pairs.append((f'frame {t}', feature, case.features[:, t]))
    _, state = model.backbone.forward_step(clip[:, :, 0])
    feature, _ = model.backbone.forward_frames(clip[:, :, 1:], state)
    return [*pairs, ('slice', feature, case.features[:, -1])]


def run_bytes(model: LCRRecognizer, case: Case, clip: Tensor) -> Pairs:
    """The clip of bytes, through the recognizer and its preprocessor."""
    data = model.data_preprocessor(
        dict(
            inputs=[pixels[None] for pixels in case.pixels],
            data_samples=[ActionDataSample() for _ in case.pixels]))
    feature, _ = model.extract_feat(data['inputs'], test_mode=True)
    return [('feature', feature, case.of_bytes[:, -1])]


def run_gradients(model: LCRRecognizer, case: Case, clip: Tensor) -> Pairs:
    """Features and gradients in training, with the mask."""
    model.train()
    model.backbone.supervised_frames = SUPERVISED
    clip.requires_grad_()
    features = model.backbone(clip, case.mask)
    (features * case.direction.to(clip.dtype)).sum().backward()
    leaves = {**dict(model.backbone.named_parameters()), 'clip': clip}
    pairs = [('features', features, case.masked[:, -SUPERVISED:])]
    for name, leaf in leaves.items():
        grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        pairs.append((name, grad, case.gradients[name]))
    return pairs


KINDS: Dict[str, Callable[[LCRRecognizer, Case, Tensor], Pairs]] = dict(
    clip=run_clip,
    stream=run_stream,
    mask=run_mask,
    bytes=run_bytes,
    gradients=run_gradients)


def check(backend: str, options: str, kind: str, dtype: torch.dtype) -> None:
    """Compare a backend with the reference.

    Args:
        backend (str): Name of a backend.
        options (str): Name of a set of :data:`OPTIONS`.
        kind (str): Name of one of :data:`KINDS`.
        dtype (torch.dtype): That of weights and clip.

    Raises:
        AssertionError: If something differs, or a backend of
            :data:`COMPLETE` refuses. Where another backend refuses, the test
            is skipped with the backend's reason.
    """
    case = make_case(options)
    model = build(backend, **OPTIONS[options])
    model.backbone.load_state_dict(case.weights)
    model.to(dtype).eval()
    clip = case.clip.to(dtype, copy=True)
    with torch.set_grad_enabled(kind == 'gradients'):
        reason = None
        if backend != 'auto':
            reason = get_backend(backend).unsupported(model.backbone, clip)
        if reason is not None:
            assert backend not in COMPLETE, reason
            pytest.skip(f'{backend}: {reason}')
        pairs = KINDS[kind](model, case, clip)
    wrong = {
        name: error
        for name, error in errors(pairs, dtype).items()
        if not error < TOLERANCES[dtype]
    }
    assert not wrong


def errors(pairs: Pairs, dtype: torch.dtype) -> Dict[str, float]:
    """The relative error of each, ``|a - b| / |b|`` in norm.

    Where the terms of a gradient cancel, rounding is as large as the terms.
    So ``|b|`` is at least a share, :data:`SMALLEST`, of the largest one.
    """
    largest = max(expected.norm().item() for _, _, expected in pairs)
    least = SMALLEST[dtype]
    found = {}
    for name, result, expected in pairs:
        assert result.dtype == dtype and result.shape == expected.shape, name
        norm = max(expected.norm().item(), least * largest)
        error = (result.detach().double() - expected.detach()).norm()
        found[name] = error.item() / norm
    return found
