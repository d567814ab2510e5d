# Copyright (c) The mmlcr authors. All rights reserved.
"""Converted image models: LCR computes their features of every frame.

The published block of VRWKV6 is stated here once more, plainly: token by
token, in float64.
"""
import importlib
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from processes import run_script
from torch import Tensor

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmlcr.models import LCR

ROOT = Path(__file__).resolve().parents[1]
HEAD = 64  # width of a head of all published models
# asked of float32; measured are 2e-6 to 3e-6
FLOAT32_TOLERANCE = 1e-4
# shares of the channel mix are one minus the published ones, in float32
CONVERTED_TOLERANCE = 1e-6


class Size(NamedTuple):
    """Of a published model."""
    width: int
    post_norm: bool  # with LayerScale
    depth: int = 12
    side: int = 14  # of the grid that it was trained with


SIZES = dict(
    tiny=Size(192, False), small=Size(384, True), base=Size(768, True))
LITTLE = [Size(128, False, 2, 4), Size(128, True, 2, 4)]


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    return importlib.import_module('mmlcr.cli.convert')


def published(size: Size, seed: int = 0) -> Dict[str, Tensor]:
    """A checkpoint with the published names and shapes, filled at random.

    All that a tensor does is of order one: vectors and scales are, and
    matrices make outputs of order one, also those of low rank.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    def matrix(outputs: int, inputs: int) -> Tensor:
        return normal(outputs, inputs) / inputs**0.5

    D, inner = size.width, 4 * size.width
    weights = {
        'patch_embed.projection.weight': normal(D, 3, 16, 16) / 768**0.5,
        'patch_embed.projection.bias': normal(D),
        'pos_embed': normal(1, size.side**2, D),
        'ln1.weight': normal(D), 'ln1.bias': normal(D),
        'layers.0.ln0.weight': normal(D), 'layers.0.ln0.bias': normal(D),
    }
    for i in range(size.depth):
        layer = {
            'ln1.weight': normal(D), 'ln1.bias': normal(D),
            'ln2.weight': normal(D), 'ln2.bias': normal(D),
            'att.time_maa_w1': matrix(160, D).mT.contiguous(),
            'att.time_maa_w2': normal(5, 32, D) / 32**0.5,
            'att.time_decay': normal(1, 1, D) - 1,
            'att.time_decay_w1': matrix(64, D).mT.contiguous(),
            'att.time_decay_w2': normal(64, D) / 8,
            'att.time_faaaa': normal(D // HEAD, HEAD),
            'att.ln_x.weight': normal(D), 'att.ln_x.bias': normal(D),
            'ffn.spatial_mix_k': normal(1, 1, D),
            'ffn.spatial_mix_r': normal(1, 1, D),
            'ffn.key.weight': matrix(inner, D),
            'ffn.receptance.weight': matrix(D, D),
            'ffn.value.weight': matrix(D, inner),
        }
        for name in 'xwkvrg':
            layer[f'att.time_maa_{name}'] = normal(1, 1, D)
        for name in 'key', 'value', 'receptance', 'gate', 'output':
            layer[f'att.{name}.weight'] = matrix(D, D)
        if size.post_norm:
            layer['gamma1'], layer['gamma2'] = normal(D), normal(D)
        weights.update({f'layers.{i}.{k}': v for k, v in layer.items()})
    weights = {f'backbone.{name}': t for name, t in weights.items()}
    weights['head.fc.weight'] = normal(10, D)
    weights['head.fc.bias'] = normal(10)
    return weights


# ---- the published model, restated


def image_features(weights: Dict[str, Tensor], size: Size,
                   picture: Tensor) -> Tensor:
    """Patch tokens ``(L, D)`` of a picture ``(3, height, width)``."""
    w = {
        name[len('backbone.'):]: tensor.double()
        for name, tensor in weights.items() if name.startswith('backbone.')
    }
    x = F.conv2d(picture[None].double(), w['patch_embed.projection.weight'],
                 w['patch_embed.projection.bias'], stride=16)[0]
    rows, cols = x.shape[1:]
    position = w['pos_embed'].reshape(1, size.side, size.side, -1)
    position = position.permute(0, 3, 1, 2)
    if (rows, cols) != (size.side, size.side):
        position = F.interpolate(position, (rows, cols), mode='bicubic',
                                 align_corners=False)
    x = (x + position[0]).flatten(1).T
    for i in range(size.depth):
        x = block({name[len(f'layers.{i}.'):]: t for name, t in w.items()
                   if name.startswith(f'layers.{i}.')}, x, rows, cols)
    return norm(x, w, 'ln1')


def norm(x: Tensor, w: Dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f'{name}.weight'],
                        w[f'{name}.bias'])


def block(w: Dict[str, Tensor], x: Tensor, rows: int, cols: int) -> Tensor:
    if 'ln0.weight' in w:
        x = norm(x, w, 'ln0')
    if 'gamma1' in w:
        x = x + w['gamma1'] * norm(attention(w, x, rows, cols), w, 'ln1')
        return x + w['gamma2'] * norm(channels(w, x, rows, cols), w, 'ln2')
    x = x + attention(w, norm(x, w, 'ln1'), rows, cols)
    return x + channels(w, norm(x, w, 'ln2'), rows, cols)


def q_shift(x: Tensor, rows: int, cols: int) -> Tensor:
    """A quarter of each head from left, right, upper, lower; zero outside."""
    grid = x.view(rows, cols, -1, 4, HEAD // 4)
    shifted = torch.zeros_like(grid)
    shifted[:, 1:, :, 0] = grid[:, :-1, :, 0]
    shifted[:, :-1, :, 1] = grid[:, 1:, :, 1]
    shifted[1:, :, :, 2] = grid[:-1, :, :, 2]
    shifted[:-1, :, :, 3] = grid[1:, :, :, 3]
    return shifted.reshape(x.shape)


def attention(w: Dict[str, Tensor], x: Tensor, rows: int,
              cols: int) -> Tensor:
    L, D = x.shape
    step = q_shift(x, rows, cols) - x
    low = torch.tanh((x + step * w['att.time_maa_x'][0, 0])
                     @ w['att.time_maa_w1']).view(L, 5, 32)
    inputs = {}
    for at, name in enumerate('wkvrg'):
        share = (w[f'att.time_maa_{name}'][0, 0]
                 + low[:, at] @ w['att.time_maa_w2'][at])
        inputs[name] = x + step * share
    r = inputs['r'] @ w['att.receptance.weight'].T
    k = inputs['k'] @ w['att.key.weight'].T
    v = inputs['v'] @ w['att.value.weight'].T
    g = F.silu(inputs['g'] @ w['att.gate.weight'].T)
    decay = torch.exp(-torch.exp(
        w['att.time_decay'][0, 0] + torch.tanh(
            inputs['w'] @ w['att.time_decay_w1']) @ w['att.time_decay_w2']))
    r, k, v, decay = (t.view(L, -1, HEAD) for t in (r, k, v, decay))
    y = torch.einsum('lhk,hk,lhk,lhv->lhv', r, w['att.time_faaaa'], k, v)
    for order in (range(L), range(L - 1, -1, -1)):
        state = torch.zeros(D // HEAD, HEAD, HEAD, dtype=x.dtype)
        for t in order:
            y[t] += torch.einsum('hk,hkv->hv', r[t], state)
            state = state * decay[t, :, :, None] + k[t, :, :, None] * v[
                t, :, None]
    y = F.group_norm(y.reshape(L, D), D // HEAD, w['att.ln_x.weight'],
                     w['att.ln_x.bias'])
    return (y * g) @ w['att.output.weight'].T


def channels(w: Dict[str, Tensor], x: Tensor, rows: int, cols: int) -> Tensor:
    shifted = q_shift(x, rows, cols)
    of_k, of_r = (
        x * w[f'ffn.spatial_mix_{name}'][0, 0] + shifted *
        (1 - w[f'ffn.spatial_mix_{name}'][0, 0]) for name in 'kr')
    k = torch.relu(of_k @ w['ffn.key.weight'].T)**2
    return torch.sigmoid(of_r @ w['ffn.receptance.weight'].T) * (
        k @ w['ffn.value.weight'].T)


# ---- and LCR with its weights


def build(size: Size, side: int = 0, **options: Any) -> LCR:
    return MODELS.build(
        dict(type='LCR', layer=dict(
                type='VRWKV6Layer', post_norm=size.post_norm,
                layer_scale=1e-5 if size.post_norm else None),
             embed_dims=size.width,
             num_heads=size.width // HEAD, num_layers=size.depth,
             hidden_rate=4, rotary=False,
             position_grid=(side or size.side, ) * 2, **options))


def converted(tool: ModuleType, weights: Dict[str, Tensor],
              model: LCR) -> LCR:
    own = {
        name[len('backbone.'):]: tensor
        for name, tensor in weights.items() if name.startswith('backbone.')
    }
    state, _ = tool.convert(own, model)
    assert not own
    model.load_state_dict(state)
    return model.eval()


def clip_features(model: LCR, clip: Tensor) -> Tensor:
    """Patch tokens of each frame, ``(T, B, L, D)``."""
    layout = model.layout(clip)
    with torch.no_grad():
        tokens = model.embed(clip, layout)
        output = model.executor(clip, layout).run_layers(
            tokens, tokens.e_norm[0] if model.temporal_shift else None, None,
            model.geometry(layout, tokens.x))
        return model.norm_out(torch.stack([*output.x]))[:, :, :-1]


@pytest.mark.slow
@pytest.mark.parametrize('name', SIZES)
def test_features_are_the_image_model_s(name: str, tool: ModuleType,
                                        relative_error: Callable) -> None:
    """Of every frame of a clip, whatever its edges and the frames before."""
    size = SIZES[name]
    weights = published(size)
    model = converted(tool, weights, build(size))
    clip = torch.randn(1, 4, 2, 224, 224)
    found = clip_features(model, clip)
    for t in range(2):
        expected = image_features(weights, size, clip[0, :3, t])
        assert relative_error(found[t, 0], expected) < FLOAT32_TOLERANCE
    feature = model(clip)  # the mean of the patches, what remembers beside it
    assert relative_error(feature[0, :size.width],
                          expected.mean(0)) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('size', LITTLE, ids=['pre-norm', 'post-norm'])
def test_another_grid(size: Size, tool: ModuleType,
                      relative_error: Callable) -> None:
    """By the image model's own way of resizing, once or on the fly."""
    weights = published(size)
    for side in (size.side, 6):
        model = converted(tool, weights, build(size, side)).double()
        clip = torch.randn(1, 4, 3, 96, 96).double()
        found = clip_features(model, clip)
        for t in range(3):
            expected = image_features(weights, size, clip[0, :3, t])
            assert relative_error(found[t, 0], expected) < CONVERTED_TOLERANCE


@pytest.mark.parametrize('size', LITTLE, ids=['pre-norm', 'post-norm'])
def test_tensors_of_order_one(size: Size, tool: ModuleType,
                              relative_error: Callable) -> None:
    """Also of the matrices, whose outputs then are of any order."""
    weights = {name: torch.randn_like(t)
               for name, t in published(size).items()}
    model = converted(tool, weights, build(size)).double()
    clip = torch.randn(1, 4, 2, 64, 64).double()
    found = clip_features(model, clip)
    expected = image_features(weights, size, clip[0, :3, 1])
    assert relative_error(found[1, 0], expected) < CONVERTED_TOLERANCE


@pytest.mark.parametrize('size', LITTLE, ids=['pre-norm', 'post-norm'])
def test_every_tensor_counts(size: Size, tool: ModuleType,
                             relative_error: Callable) -> None:
    """Errors of a third in any of them would be seen."""
    weights = published(size)
    clip = torch.randn(1, 4, 1, 64, 64).double()
    expected = image_features(weights, size, clip[0, :3, 0])
    for name in weights:
        if name.startswith('head'):
            continue
        noise = 1 + 0.3 * torch.randn_like(weights[name])
        wrong = {**weights, name: weights[name] * noise}
        model = converted(tool, wrong, build(size)).double()
        found = clip_features(model, clip)
        assert relative_error(found[0, 0],
                              expected) > 10 * FLOAT32_TOLERANCE, name


# ---- the tool, and what begins with its file


def run(*arguments: object) -> subprocess.CompletedProcess:
    return run_script(ROOT / 'tools/convert_vrwkv.py', *arguments)


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    'tiny', *(pytest.param(size, marks=pytest.mark.long)
              for size in ('small', 'base'))
])
def test_configs_start_from_converted_weights(name: str, tmp_path: Path,
                                              relative_error: Callable
                                              ) -> None:
    """One line apart from scratch, and both train."""
    source, out = tmp_path / 'vrwkv6.pth', tmp_path / 'lcr.pth'
    weights = published(SIZES[name])
    torch.save(dict(state_dict=weights, meta={}), source)
    suffix = '' if name == 'tiny' else f'_{name}'
    path = ROOT / f'configs/lcr_k400{suffix}.py'
    done = run(path, source, '--out', out)
    assert done.returncode == 0, done.stderr
    layers = 28 if name == 'tiny' else 30  # tensors of each
    assert f'{12 * layers + 7} taken:' in done.stdout
    assert '0 resized:' in done.stdout and '2 left over:' in done.stdout
    assert 'layers.*.past.weight  (x 12)' in done.stdout
    config = Config.fromfile(path)
    config.model.cls_head.dropout_ratio = 0.
    assert Config.fromfile(ROOT / f'configs/lcr_ssv2{suffix}.py'
                           ).model.backbone == config.model.backbone
    config.model.backbone.init_cfg.checkpoint = str(out)
    for start in (config.model.backbone.init_cfg, None):
        config.model.backbone.init_cfg = start
        model = MODELS.build(config.model)
        model.init_weights()
        key = model.backbone.layers[3].key.weight
        same = relative_error(
            key, weights['backbone.layers.3.att.key.weight']) == 0
        assert same == (start is not None)
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        batch = dict(
            inputs=[torch.randint(0, 256, (1, 4, 2, 64, 64)).byte()],
            data_samples=[ActionDataSample().set_gt_label(7)])
        losses = [
            model.train_step(batch, wrapper)['loss'].item() for _ in range(4)
        ]
        assert losses[-1] < losses[0]


@pytest.mark.parametrize('change, message', [
    (dict(more=1), 'corresponds to backbone.layers.0.att.more'),
    (dict(less=1), 'the checkpoint has no backbone.layers.1.att.key.weight'),
    (dict(size=Size(192, False, 2, 4)), 'is (192, 3, 16, 16) in the checkpoint'
     ', and (128, 3, 16, 16) in the config'),
    (dict(size=Size(128, False, 3, 4)), 'has 3 layers, and the config 2'),
    (dict(size=Size(128, True, 2, 4)),
     'corresponds to backbone.layers.0.gamma1'
     ),
    (dict(other=1), 'no weights of a VRWKV6 model'),
    (dict(options=['model.backbone.rotary=True']), 'and has rotary=True'),
    (dict(options=['model.backbone.layer.layer_scale=0.1']), 'or neither'),
    (dict(options=['model.backbone.layer.type=CrossRWKVLayer']),
     'no layer=dict'),
], ids=['more', 'less', 'width', 'depth', 'scale', 'other', 'rotary',
        'post-norm', 'stack'])
def test_what_does_not_fit_is_named(change: Dict[str, Any], message: str,
                                    tmp_path: Path) -> None:
    weights = published(change.get('size', LITTLE[0]))
    if 'more' in change:
        weights['backbone.layers.0.att.more'] = torch.zeros(3)
    if 'less' in change:
        del weights['backbone.layers.1.att.key.weight']
    if 'other' in change:
        weights = {'encoder.weight': torch.zeros(3)}
    source, out = tmp_path / 'vrwkv6.pth', tmp_path / 'lcr.pth'
    torch.save(dict(state_dict=weights), source)
    done = run(ROOT / 'configs/lcr_k400.py', source, '--out', out,
               '--cfg-options', 'model.backbone.embed_dims=128',
               'model.backbone.num_heads=2', 'model.backbone.num_layers=2',
               'model.cls_head.in_channels=256', *change.get('options', []))
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'{source}: ' in done.stderr and message in done.stderr
    assert not out.exists()


def test_pretrained_weights_that_do_not_fit(tmp_path: Path) -> None:
    model = build(LITTLE[0])
    path = tmp_path / 'lcr.pth'
    model.init_cfg = dict(
        type='Pretrained', checkpoint=str(path), prefix='backbone.')
    with pytest.raises(FileNotFoundError, match='"mmlcr convert" converts'):
        model.init_weights()
    state = model.state_dict()
    torch.save(dict(state_dict={f'backbone.{n}': t for n, t in state.items()
                                if n != 'norm_0.bias'}), path)
    with pytest.raises(ValueError, match=r'(?s)lcr.pth is of another .*norm_0'
                       ):
        model.init_weights()
