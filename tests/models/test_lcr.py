# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR against its equations, and clip against stream."""
import math
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmaction.registry import MODELS
from mmlcr.apis import count_multiply_adds
from mmlcr.layers import (
    LayerState,
    compiled_functions,
    cross_rwkv,
    find_compiler,
)
from mmlcr.models import LCR
from mmlcr.models.lcr import SLICE_FRAMES
from mmlcr.ops import bi_wkv_naive

# what this project promises of float32, in norm
FLOAT32_TOLERANCE = 1e-5
# float64 rounding, amplified by layers and frames
FLOAT64_TOLERANCE = 1e-11
# float32 rounding where only the batch size or the path differs
SAME_FLOAT32_TOLERANCE = 2e-6
# bfloat16 keeps eight bits, and two layers and four frames amplify that
AUTOCAST_TOLERANCE = 0.1
# less than this is no difference between two inputs
DIFFERENT = 1e-2

# what each option says is changed from these
TINY = dict(
    embed_dims=16,
    num_heads=2,
    num_layers=2,
    patch_size=4,
    hidden_rate=2.5,
    cell='paper',
    readout='cls')
PAPER = dict(temporal_shift=False, hidden_rate=4)
OPTIONS: Dict[str, dict] = {
    'default': {},
    'conv': dict(stem='conv'),
    'paper': PAPER,
    'defaults': dict(hidden_rate=2, cell='coupled', readout='mean'),
    'clip': dict(cell_clip=2.),
    'coupled': dict(cell='coupled'),
    'residual': dict(layer_input='residual'),
    'coupled-residual': dict(cell='coupled', layer_input='residual'),
    'no-rotary': dict(rotary=False),
    'no-edges': dict(edge_prompt=False),
    'position': dict(position_grid=(5, 4)),
    'resized-position': dict(position_grid=(3, 3)),
    'mean': dict(readout='mean'),
    'attention': dict(readout='attention'),
    'mean-conv-coupled': dict(readout='mean', stem='conv', cell='coupled'),
    'both': dict(stem_input='both'),
    'difference': dict(stem_input='difference'),
    'difference-conv-mean':
    dict(stem_input='both', stem='conv', readout='mean'),
    'difference-no-edges': dict(stem_input='difference', edge_prompt=False),
    'no-shift-conv-residual':
    dict(temporal_shift=False, stem='conv', layer_input='residual'),
    'vrwkv6':
    dict(stack='vrwkv6', rotary=False, cell='coupled', readout='mean'),
    'vrwkv6-post-norm':
    dict(
        stack='vrwkv6',
        post_norm=True,
        layer_scale=0.1,
        position_grid=(5, 4),
        readout='mean'),
    'vrwkv6-no-shift':
    dict(stack='vrwkv6', temporal_shift=False, readout='attention'),
}
# the kernels are for these
FUSED = [name for name, options in OPTIONS.items() if 'stack' not in options]


def build(redraw: Callable, dtype: torch.dtype = torch.float32,
          **options: Any) -> LCR:
    """A tiny model whose weights have all been drawn anew."""
    return redraw(LCR(**{**TINY, **options})).to(dtype).eval()


def draw_clip(B: int = 2,
              T: int = 4,
              height: int = 20,
              width: int = 16,
              dtype: torch.dtype = torch.float32) -> Tensor:
    """Noise for RGB, a sparse map of zeros and ones for the edges."""
    clip = torch.randn(B, 4, T, height, width, dtype=torch.float64)
    clip[:, 3] = (clip[:, 3] > 1).double()
    return clip.to(dtype)


def draw_mask(B: int, rows: int, cols: int, dropped: int) -> Tensor:
    mask = torch.zeros(B, rows * cols, dtype=torch.bool)
    for sample in mask:
        sample[torch.randperm(rows * cols)[:dropped]] = True
    return mask.view(B, rows, cols)


def stream(model: LCR, clip: Tensor) -> List[Tensor]:
    """The features after every frame, step by step."""
    features, state = [], None
    for frame in clip.unbind(2):
        feature, state = model.forward_step(frame, state)
        features.append(feature)
    return features


# ---- eqs. (1) to (11) once more: plain, slow, one clip and float64


def restated(model: LCR, options: dict, clip: Tensor,
             mask: Optional[Tensor] = None) -> Tensor:
    """The feature of one clip ``(4, T, height, width)``, frame by frame.

    Written from the equations; of the model it uses only the weights.
    """
    size = {**TINY, **options}
    P, D, H = size['patch_size'], size['embed_dims'], size['num_heads']
    weights = {k: v.detach().double() for k, v in model.state_dict().items()}
    rows, cols = clip.shape[2] // P, clip.shape[3] // P
    places = [(row, col) for row in range(rows) for col in range(cols)
              if mask is None or not mask[row, col]]
    state: List[dict] = [{} for _ in range(size['num_layers'])]
    before = clip[:, 0].double()
    for frame in clip.double().unbind(1):
        rgb, edges, moved = frame[:3], frame[3:], frame - before
        if size.get('stem_input') == 'both':
            rgb = torch.cat([rgb, moved[:3]])
            edges = torch.cat([edges, moved[3:]])
        elif size.get('stem_input') == 'difference':
            rgb, edges = moved[:3], moved[3:]
        x, e = _embed(weights, rgb, edges, places, P, size)
        before = frame
        layer = _layer
        if size.get('stack') == 'vrwkv6':
            x, layer = _norm(weights, 'norm_0', x), _vrwkv6_layer
        for index in range(size['num_layers']):
            of_layer = {
                name.split('.', 2)[2]: weight
                for name, weight in weights.items()
                if name.startswith(f'layers.{index}.')
            }
            of_layer.update({
                name: weight
                for name, weight in weights.items()
                if name.startswith('norm_e')
            })
            x = layer(of_layer, x, e, state[index], places, D, H, size)
    if size.get('stack') == 'vrwkv6':
        x = _norm(weights, 'norm_out', x)
    tokens = torch.cat([x, state[-1]['c']], dim=-1)
    if size.get('readout') == 'mean':
        return tokens[:-1].mean(0)
    if size.get('readout') == 'attention':
        return tokens[-1] + _attended(weights, tokens[:-1], 2 * H)
    return tokens[-1]


def _attended(weights: dict, patches: Tensor, heads: int) -> Tensor:
    """The weighted mean of patches ``(L - 1, 2D)``, head by head."""
    channels = patches.shape[1]
    normed = F.layer_norm(patches, (channels, ),
                          weights['readout.norm.weight'],
                          weights['readout.norm.bias'])
    scores = torch.exp(normed @ weights['readout.score.weight'].T)
    feature, width = [], channels // heads
    for head in range(heads):
        share = scores[:, head] / scores[:, head].sum()
        feature.append(share @ patches[:, head * width:(head + 1) * width])
    return torch.cat(feature)


def _embed(weights: dict, rgb: Tensor, edges: Tensor, places: list, P: int,
           size: dict) -> Tuple[Tensor, Tensor]:
    """Equations (1), (2): tokens and edge prompt of a frame, ``(L, D)``."""
    position = weights.get('position')
    if position is not None:
        grid = rgb.shape[1] // P, rgb.shape[2] // P
        if tuple(position.shape[-2:]) != grid:
            position = F.interpolate(
                position, grid, mode='bicubic', align_corners=False)

    def project(name: str, pixels: Tensor, row: int, col: int) -> Tensor:
        patch = pixels[:, row * P:(row + 1) * P, col * P:(col + 1) * P]
        weight = weights[f'{name}.projection.weight'].flatten(1)
        return weight @ patch.flatten() + weights[f'{name}.projection.bias']

    x, e = [], []
    for row, col in places:
        token = project('stem', rgb, row, col)
        if position is not None:
            token = token + position[0, :, row, col]
        x.append(token)
        prompt = token
        if size.get('edge_prompt', True):
            answer = project('edge_stem', edges, row, col)
            prompt = token + (
                weights['zero_conv.weight'][:, :, 0, 0] @ answer +
                weights['zero_conv.bias'])
        e.append(prompt)
    cls = weights['cls_token']
    return torch.stack(x + [cls]), torch.stack(e + [cls])


def _layer(weights: dict, x: Tensor, e: Tensor, state: dict, places: list,
           D: int, H: int, size: dict) -> Tensor:
    """Equations (3) to (10) for one frame; what the next layer reads."""
    h = state.get('h', torch.zeros_like(x))
    c = state.get('c', torch.zeros_like(x))
    x_norm, e_norm, h_norm = (
        F.layer_norm(t, (D, ), weights[f'norm_{name}.weight'],
                     weights[f'norm_{name}.bias'])
        for name, t in (('x', x), ('e', e), ('h', h)))

    def shift(t: Tensor, mu: Tensor) -> Tensor:  # eq. (3)
        return (1 - mu) * t + mu * _neighbours(t, places, H)

    x_in, e_in = shift(x_norm, weights['mu_x']), shift(e_norm, weights['mu_e'])
    if size.get('temporal_shift', True):
        x_in = torch.cat([x_in, x_norm - state.get('x', x_norm)], dim=-1)
        e_in = torch.cat([e_in, e_norm - state.get('e', e_norm)], dim=-1)
        state.update(x=x_norm, e=e_norm)
    asked = torch.cat([x_in, h_norm], -1) @ weights['receptance_gate.weight'].T
    r, g = asked[:, :D], asked[:, D:]  # eq. (4)
    answered = e_in @ weights['key_value.weight'].T
    k, v = answered[:, :D], answered[:, D:]  # eq. (5)
    r, k, v = (t.reshape(len(x), H, D // H) for t in (r, k, v))
    if size.get('rotary', True):
        r, k = _rotated(r, places), _rotated(k, places)
    w = -torch.exp(weights['decay'])
    y = bi_wkv_naive(r[None], k[None], v[None], w, weights['bonus'])[0]  # (6)
    mean, variance = y.mean(-1, True), y.var(-1, correction=0, keepdim=True)
    y = ((y - mean) / (variance + 1e-5).sqrt()).flatten(1)
    y = y * weights['norm_y.weight'] + weights['norm_y.bias']
    a = x + (g / (1 + torch.exp(-g)) * y) @ weights['output.weight'].T  # (7)

    a_norm = F.layer_norm(a, (D, ), weights['norm_a.weight'],
                          weights['norm_a.bias'])
    a_norm = shift(a_norm, weights['mu_a'])
    asked = a_norm @ weights['receptance_key.weight'].T
    gate, inner = 1 / (1 + torch.exp(-asked[:, :D])), asked[:, D:]
    inner = inner.clamp(min=0)**2
    A = a + gate * (inner @ weights['value.weight'].T)  # (8)

    h = _remember(weights, A, e, c, state, size)
    return A + h if size.get('layer_input') == 'residual' else h


def _remember(weights: dict, A: Tensor, e: Tensor, c: Tensor, state: dict,
              size: dict) -> Tensor:
    """Equations (9) and (10): ``h``."""
    if size.get('cell', 'paper') == 'paper':
        c = e * (torch.tanh(A) + c) + c  # eq. (9)
        if size.get('cell_clip'):
            c = c.clamp(-size['cell_clip'], size['cell_clip'])
    else:
        forget = 1 / (1 + torch.exp(-(e @ weights['forget.weight'].T +
                                      weights['forget.bias'])))
        c = forget * c + (1 - forget) * torch.tanh(A)
    h = torch.tanh(c) / (1 + torch.exp(-A))  # eq. (10)
    state.update(h=h, c=c)
    return h


def _norm(weights: dict, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'],
                        weights[f'{name}.bias'])


def _vrwkv6_layer(weights: dict, x: Tensor, e: Tensor, state: dict,
                  places: list, D: int, H: int, size: dict) -> Tensor:
    """A layer of the other stack for one frame; what the next reads."""
    post, L = size.get('post_norm', False), len(x)
    h = state.get('h', torch.zeros_like(x))
    c = state.get('c', torch.zeros_like(x))

    def added(branch: Tensor, which: str) -> Tensor:
        if post:
            branch = _norm(weights, f'norm_{which}', branch)
        return branch * weights.get(f'scale_{which}', 1.)

    def mixed(t: Tensor, branch: int) -> Tensor:
        step = _neighbours(t, places, H) - t
        base = t + step * weights['mu_base']
        down = weights['mix_down.weight'].view(5, 32, D)[branch]
        share = weights['mu'][branch] + torch.tanh(
            base @ down.T) @ weights['mix_up'][branch]
        return t + step * share

    read = x if post else _norm(weights, 'norm_x', x)
    prompt = _norm(weights, 'norm_e', e)
    said = prompt @ weights['prompt.weight'].T
    w = weights['decay'] + torch.tanh(
        mixed(read + said, 0) @ weights['decay_down.weight'].T
    ) @ weights['decay_up.weight'].T
    k = mixed(read + said, 1) @ weights['key.weight'].T
    v = mixed(read + said, 2) @ weights['value.weight'].T
    r = mixed(read, 3) @ weights['receptance.weight'].T
    g = mixed(read, 4) @ weights['gate.weight'].T
    past = _norm(weights, 'norm_h', h)
    if size.get('temporal_shift', True):
        moved = read - state.get('x', read)
        past = torch.cat([moved, past], -1)
        moved = moved + said - state.get('said', said)
        state.update(x=read, said=said)
        k = k + moved @ weights['change.weight'][:D].T
        v = v + moved @ weights['change.weight'][D:].T
    r = r + past @ weights['past.weight'][:D].T
    g = g + past @ weights['past.weight'][D:].T
    k = torch.cat([k[:-1], torch.zeros(1, D)])  # nobody reads CLS
    r, k, v, w = (t.reshape(L, H, D // H) for t in (r, k, v, w))
    if size.get('rotary', True):
        r, k = _rotated(r, places), _rotated(k, places)
    y = bi_wkv_naive(r[None], k[None], v[None], -torch.exp(w)[None],
                     weights['bonus'])[0].flatten(1)
    y = F.group_norm(y, H, weights['norm_y.weight'], weights['norm_y.bias'])
    a = x + added((F.silu(g) * y) @ weights['output.weight'].T, 'x')

    read = a if post else _norm(weights, 'norm_a', a)
    shifted = _neighbours(read, places, H)
    of_r, of_k = (torch.lerp(read, shifted, weights[f'mu_{name}'].expand(L, D))
                  for name in ('receptance', 'key'))
    inner = (of_k @ weights['channel_key.weight'].T).clamp(min=0)**2
    A = a + added(
        torch.sigmoid(of_r @ weights['channel_receptance.weight'].T) *
        (inner @ weights['channel_value.weight'].T), 'a')
    return A + weights['memory_scale'] * _remember(weights, A, e, c, state,
                                                   size)


def _neighbours(t: Tensor, places: list, H: int) -> Tensor:
    """Each quarter of a head from its neighbour; CLS from itself."""
    token = {place: index for index, place in enumerate(places)}
    shifted = torch.zeros_like(t)
    shifted[-1] = t[-1]
    heads, source = shifted.view(len(t), H, 4, -1), t.view(len(t), H, 4, -1)
    for (row, col), index in token.items():
        for quarter, neighbour in enumerate(
            [(row, col - 1), (row, col + 1), (row - 1, col), (row + 1, col)]):
            if neighbour in token:
                heads[index, :, quarter] = source[token[neighbour], :, quarter]
    return shifted


def _rotated(t: Tensor, places: list) -> Tensor:
    """2-D rotary position of ``(L, H, K)``, as complex numbers."""
    K = t.shape[-1]
    pairs = torch.complex(t[..., ::2], t[..., 1::2])
    for index, (row, col) in enumerate(places):
        for pair in range(K // 2):
            along = row if pair < K // 4 else col
            angle = along * 100.**-(pair % (K // 4) / (K // 4))
            pairs[index, :, pair] *= complex(math.cos(angle), math.sin(angle))
    return torch.stack([pairs.real, pairs.imag], dim=-1).flatten(-2)


# ---- the equations


@pytest.mark.parametrize(
    'name',
    [
        'default', 'paper', 'clip', 'coupled', 'residual', 'coupled-residual',
        'no-rotary', 'no-edges', 'position', 'resized-position', 'mean',
        'attention', 'difference', 'difference-no-edges', 'vrwkv6',
        'vrwkv6-post-norm', 'vrwkv6-no-shift'
    ])
def test_model_is_its_equations(name: str, redraw: Callable,
                                relative_error: Callable) -> None:
    options = OPTIONS[name]
    model = build(redraw, torch.float64, **options)
    clip = draw_clip(dtype=torch.float64)
    features = model(clip)
    for feature, sample in zip(features, clip):
        expected = restated(model, options, sample)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('name', [
    'default', 'paper', 'coupled-residual', 'vrwkv6', 'vrwkv6-post-norm'])
def test_masked_model_is_its_equations(name: str, redraw: Callable,
                                       relative_error: Callable) -> None:
    options = OPTIONS[name]
    model = build(redraw, torch.float64, **options)
    clip, masks = draw_clip(dtype=torch.float64), draw_mask(2, 5, 4, 9)
    features = model(clip, masks)
    for feature, sample, mask in zip(features, clip, masks):
        expected = restated(model, options, sample, mask)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize(
    'options, height, width',
    [
        (dict(num_layers=1), 4, 4),
        (dict(num_layers=3), 4, 20),
        (dict(embed_dims=12, num_heads=3), 28, 12),
        (dict(embed_dims=24, num_heads=1, patch_size=5), 15, 35),
        (dict(patch_size=1, hidden_rate=1.3), 3, 5),
    ],
    ids=['N1-1x1', 'N3-1x5', 'D12-H3-7x3', 'D24-H1-P5-3x7', 'P1-rate1.3'])
def test_any_size(options: dict, height: int, width: int, redraw: Callable,
                  relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **options)
    clip = draw_clip(1, 3, height, width, torch.float64)
    expected = restated(model, options, clip[0])
    assert relative_error(model(clip)[0], expected) < FLOAT64_TOLERANCE


def test_still_background_is_not_part_of_the_difference(
        redraw: Callable, relative_error: Callable) -> None:
    clip, other = draw_clip(), draw_clip(T=1)
    for name, same in (('difference', True), ('both', False)):
        model = build(redraw, stem_input=name)
        change = relative_error(model(clip + other), model(clip))
        assert change < FLOAT32_TOLERANCE if same else change > DIFFERENT


def test_one_model_reads_frames_of_any_size(redraw: Callable,
                                            relative_error: Callable) -> None:
    model = build(redraw, torch.float64)
    for height, width in ((20, 16), (4, 28), (12, 12)):
        clip = draw_clip(1, 2, height, width, torch.float64)
        expected = restated(model, {}, clip[0])
        assert relative_error(model(clip)[0], expected) < FLOAT64_TOLERANCE


def test_float32_is_float64(redraw: Callable,
                            relative_error: Callable) -> None:
    model, clip = build(redraw), draw_clip()
    got = model(clip)
    expected = model.double()(clip.double())
    assert got.dtype == torch.float32 and expected.dtype == torch.float64
    assert relative_error(got, expected) < FLOAT32_TOLERANCE


# ---- clip and stream


@pytest.mark.parametrize('name', OPTIONS)
def test_clip_is_stream(name: str, redraw: Callable,
                        relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    feature, last = model(clip), stream(model, clip)[-1]
    assert feature.isfinite().all()
    assert relative_error(feature[:1], feature[1:]) > DIFFERENT
    expected = model.double()(clip.double())
    assert relative_error(feature, expected) < FLOAT32_TOLERANCE
    assert relative_error(last, expected) < FLOAT32_TOLERANCE
    exact = stream(model, clip.double())[-1]
    assert relative_error(exact, expected) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', ['default', 'conv', 'attention'])
def test_supervised_frames_are_those_of_the_stream(
        name: str, masked: bool, redraw: Callable,
        relative_error: Callable) -> None:
    model = build(
        redraw, torch.float64, supervised_frames=3, **OPTIONS[name])
    clip = draw_clip(T=5, dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    features = model.train()(clip, mask)  # (B, 3, 2D)
    model.eval()
    for feature, T in zip(features.unbind(1), (3, 4, 5)):
        expected = model(clip[:, :, :T], mask)
        assert relative_error(feature, expected) < FLOAT64_TOLERANCE
    with pytest.raises(ValueError, match='supervised_frames=3 .*2 frames'):
        model.train()(clip[:, :, :2])


@pytest.mark.parametrize('name', ['default', 'paper', 'coupled-residual'])
def test_every_frame_counts(name: str, redraw: Callable,
                            relative_error: Callable) -> None:
    """And so does the order of frames."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(1)
    feature = model(clip)
    for t in range(clip.shape[2]):
        other = clip.clone()
        other[:, :, t] = draw_clip(1, 1)[:, :, 0]
        assert relative_error(model(other), feature) > DIFFERENT
    assert relative_error(model(clip.flip(2)), feature) > DIFFERENT


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize(
    'name', ['default', 'paper', 'coupled-residual', 'difference'])
def test_clip_in_two_pieces(name: str, masked: bool, redraw: Callable,
                            relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    whole, expected = model.forward_frames(clip, tube_mask=mask)
    _, state = model.forward_frames(clip[:, :, :3], tube_mask=mask)
    pieces, state = model.forward_frames(clip[:, :, 3:], state, mask)
    assert relative_error(pieces, whole) < FLOAT64_TOLERANCE
    assert len(tree_leaves(state)) == len(tree_leaves(expected))
    for a, b in zip(tree_leaves(state), tree_leaves(expected)):
        if isinstance(b, Tensor):
            assert relative_error(a, b) < FLOAT64_TOLERANCE
        else:  # no previous inputs without the difference; one memory
            assert a == b


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', OPTIONS)
def test_inference_walks_a_clip_in_slices(name: str, masked: bool,
                                          redraw: Callable,
                                          relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(T=2 * SLICE_FRAMES + 1, dtype=torch.float64)
    mask = draw_mask(2, 5, 4, 9) if masked else None
    whole, together = model(clip, mask), []
    model.norm_e.register_forward_pre_hook(
        lambda _, inputs: together.append(len(inputs[0])))
    with torch.no_grad():
        feature = model(clip, mask)
    assert relative_error(feature, whole) < FLOAT64_TOLERANCE
    assert together == [SLICE_FRAMES, SLICE_FRAMES, 1]


@pytest.mark.parametrize('together', [1, 2, 3, 5, 9])
@pytest.mark.parametrize('T', [1, 2, 7], ids=['T1', 'T2', 'T7'])
def test_any_number_of_layers_together(T: int, together: int, redraw: Callable,
                                       relative_error: Callable,
                                       monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    model = build(redraw, torch.float64, num_layers=5)
    clip = draw_clip(1, T, dtype=torch.float64)
    monkeypatch.setattr('mmlcr.layers.wavefront.ELEMENTS_TOGETHER',
                        together * 21 * 16)  # tokens and width of a frame
    first, state = model.forward_frames(clip)
    expected = restated(model, dict(num_layers=5), clip[0])
    assert relative_error(first[0], expected) < FLOAT64_TOLERANCE
    more, state = model.forward_frames(clip, state)
    assert len(state.layers.h) == 5
    twice = restated(model, dict(num_layers=5), torch.cat([clip, clip], 2)[0])
    assert relative_error(more[0], twice) < FLOAT64_TOLERANCE


@pytest.mark.parametrize('B, T, calls', [(1, 16, 2 * (16 + 3)), (1, 1, 8),
                                         (2, 16, 4 * (16 + 1)), (8, 3, 24)])
def test_number_of_operator_calls(B: int, T: int, calls: int,
                                  redraw: Callable,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers share a call along the diagonals, frames of a batch anyway."""
    model, counts = build(redraw, num_layers=8), dict(memory=0, read=0)
    monkeypatch.setattr('mmlcr.layers.wavefront.ELEMENTS_TOGETHER',
                        4 * 21 * 16)
    for half in counts:
        function = getattr(cross_rwkv, f'bi_wkv_{half}')

        def counted(*args: Any, half: str = half,
                    function: Callable = function) -> Any:
            counts[half] += 1
            return function(*args)

        monkeypatch.setattr(cross_rwkv, f'bi_wkv_{half}', counted)
    model(draw_clip(B, T))
    assert counts == dict(memory=calls, read=calls)


@pytest.mark.parametrize('dropped', [0, 7, 15])
def test_tokens_processed_after_a_mask(dropped: int, redraw: Callable,
                                       monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    """A dropped token is in no product of the layers."""
    model, tokens = build(redraw, num_layers=8), set()
    for name in ('linear', 'add_linear', 'layer_norm', 'bi_wkv_read'):
        function = getattr(cross_rwkv, name)

        def seen(x: Tensor, *args: Any,
                 function: Callable = function) -> Tensor:
            tokens.add(x.shape[2])
            return function(x, *args)

        monkeypatch.setattr(cross_rwkv, name, seen)
    model(draw_clip(), draw_mask(2, 5, 4, dropped))
    assert tokens == {20 - dropped + 1}


# ---- fused kernels


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """How many chunks make a frame, of each call of the fused kernels."""
    fused = pytest.importorskip(
        'mmlcr.layers.fused', reason='needs Numba', exc_type=ImportError)
    chunks: List[int] = []
    pass_layers = fused.pass_layers

    def counted(*args: Any) -> None:
        chunks.append(args[-1].sums.shape[3])
        pass_layers(*args)

    monkeypatch.setattr(fused, 'pass_layers', counted)
    return chunks


@pytest.mark.parametrize('dropped', [0, 7])
@pytest.mark.parametrize('name', FUSED)
def test_fused_kernels_are_the_same(name: str, dropped: int, redraw: Callable,
                                    relative_error: Callable,
                                    kernel_calls: List[int]) -> None:
    """As float64, and as near to it as PyTorch's float32."""
    model = build(redraw, **OPTIONS[name])
    clip, mask = draw_clip(T=5), draw_mask(2, 5, 4, dropped)
    with torch.no_grad():
        fused, state = model.forward_frames(clip[:, :, :3], None, mask)
        if not dropped:
            fused, _ = model.forward_frames(clip[:, :, 3:], state)
        calls = len(kernel_calls)
        model.fused_kernels = False
        clip = clip if not dropped else clip[:, :, :3]
        plain = model(clip, mask)
        assert len(kernel_calls) == calls > 0
        exact = model.double()(clip.double(), mask)
    assert relative_error(plain, exact) < FLOAT32_TOLERANCE
    assert relative_error(fused, exact) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('decay', [None, -6., 1.])
@pytest.mark.parametrize('name', ['default', 'coupled'])
def test_fused_kernels_of_many_chunks(name: str, decay: Optional[float],
                                      redraw: Callable,
                                      relative_error: Callable,
                                      kernel_calls: List[int]) -> None:
    """Also where hardly anything or nearly all decays within a chunk."""
    model = build(redraw, **OPTIONS[name])
    if decay is not None:
        for layer in model.layers:
            nn.init.constant_(layer.decay, decay)
    clip = draw_clip(2, 3, 48, 52)  # 157 tokens
    with torch.no_grad():
        fused = model(clip)
        exact = model.double()(clip.double())
    assert max(kernel_calls) > 1
    assert relative_error(fused, exact) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('name', ['default', 'clip', 'coupled'])
def test_fused_kernels_pass_on_what_is_not_finite(name: str, redraw: Callable,
                                                  kernel_calls: List[int]
                                                  ) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(T=2)
    clip[0, 0, 0, 0, 0] = math.nan
    with torch.no_grad():
        feature = model(clip)
    assert kernel_calls
    assert feature[0].isnan().all() and feature[1].isfinite().all()


def test_fused_kernels_where_they_can_be(redraw: Callable,
                                         kernel_calls: List[int],
                                         monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    """Neither for gradients nor in other precision nor in a trace."""
    model, clip = build(redraw), draw_clip(1, 1)
    model(clip)
    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            model(clip)
        with monkeypatch.context() as patch:
            patch.setattr(torch.jit, 'is_tracing', lambda: True)
            model(clip)
        model.double()(clip.double())
    assert kernel_calls == []
    with torch.inference_mode():
        model.float()(clip)
    assert kernel_calls


def test_fused_kernels_in_either_mode_and_any_size(redraw: Callable,
                                                   kernel_calls: List[int]
                                                   ) -> None:
    """Their scratch memory serves them all, in turns."""
    model, scratch = build(redraw), sys.modules['mmlcr.layers.scratch']
    clips = [draw_clip(B, 2, side, side) for B, side in ((1, 8), (3, 24))]
    with torch.no_grad():
        expected = [model(clip) for clip in clips]
    scratch._of_thread.__dict__.clear()
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            for clip, feature in zip(clips * 2, expected * 2):
                assert torch.equal(model(clip), feature)
    infer = torch.no_grad()(model.forward)
    with ThreadPoolExecutor(2) as pool:
        features = list(pool.map(infer, clips * 8))
    for feature, same in zip(features, expected * 8):
        assert torch.equal(feature, same)
    assert kernel_calls


def test_fused_kernels_leave_the_number_of_threads() -> None:
    """In a process of its own: it is when they start that it could change."""
    pytest.importorskip('numba')
    code = ('import torch, mmlcr\n'
            'from mmlcr.models import LCR\n'
            'model = LCR(embed_dims=16, num_heads=2, num_layers=1).eval()\n'
            'with torch.no_grad():\n'
            '    model(torch.randn(1, 4, 1, 32, 32))\n'
            'print(torch.get_num_threads())')
    done = subprocess.run([sys.executable, '-c', code],
                          env={**os.environ, 'OMP_NUM_THREADS': '1'},
                          stdout=subprocess.PIPE, check=True)
    assert done.stdout.split()[-1] == b'1'


@pytest.mark.parametrize('name', OPTIONS)
def test_kernels_and_operations_count_the_same(name: str,
                                               kernel_calls: List[int]
                                               ) -> None:
    """What counts products sees those of PyTorch's operations."""
    model, clip = LCR(**{**TINY, **OPTIONS[name]}).eval(), draw_clip(1, 2)
    counts = []
    for model.fused_kernels in (True, False):
        counts.append(count_multiply_adds(lambda: model(clip)))
    assert counts[0] == counts[1] > 0 and not kernel_calls


@pytest.mark.parametrize('threads', [2, 3])
def test_threads_share_layers_and_chunks(threads: int,
                                         run_python: Callable) -> None:
    """All ways to share them, in a process that has more threads."""
    pytest.importorskip('numba')
    code = (
        'import os, sys\n'
        'for name in "OMP_NUM_THREADS", "NUMBA_NUM_THREADS":\n'
        '    os.environ[name] = sys.argv[1]\n'
        'import copy, torch, mmlcr\n'
        'from mmlcr.models import LCR\n'
        'torch.manual_seed(0)\n'
        'model = LCR(embed_dims=16, num_heads=2, num_layers=5, '
        'patch_size=4).eval()\n'
        'for weight in model.parameters():\n'
        '    torch.nn.init.normal_(weight, std=0.3)\n'
        'exact = copy.deepcopy(model).double()\n'
        'for B in (1, 2, 3):\n'
        '    for T in (1, 2, 7, 10):\n'
        '        for side in (8, 36):\n'
        '            clip = torch.randn(B, 4, T, side, side)\n'
        '            with torch.no_grad():\n'
        '                found = model(clip)\n'
        '                assert model._kept.wanted[-1] is not None\n'
        '                expected = exact(clip.double())\n'
        '            error = (found - expected).norm() / expected.norm()\n'
        '            print(error.item())\n')
    done = run_python(code, threads)
    assert 'Cannot cache' not in done.stderr  # to be compiled every time
    errors = list(map(float, done.stdout.split()))
    assert len(errors) == 24 and max(errors) < FLOAT32_TOLERANCE, done.stderr


# ---- weights that are kept


def test_kept_weights_follow_the_parameters(redraw: Callable) -> None:
    """What is made of the parameters once is made again when they change."""
    model, clip = build(redraw, readout='mean'), draw_clip(1, 2)
    other = build(redraw, readout='mean')

    def same_as_afresh() -> bool:
        kept = model(clip)
        model._kept = None
        return torch.equal(kept, model(clip))

    with torch.no_grad():
        first = model(clip)
        kept = model._kept
        assert torch.equal(model(clip), first) and model._kept is kept
        model.layers[0].mu_x.add_(1.)
        assert same_as_afresh() and not torch.equal(model(clip), first)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(clip), other(clip))
        model.load_state_dict(other.half().float().state_dict(), assign=True)
        assert same_as_afresh()
        for p in model.parameters():  # an averaged model's, as MMEngine swaps
            p.data.mul_(0.5)
        model.eval()
        assert same_as_afresh()
        assert model(draw_clip(1, 2, 24, 16)).isfinite().all()


# ---- compiled


@pytest.mark.skipif(find_compiler() is None, reason='needs a C++ compiler')
@pytest.mark.parametrize('train', [
    pytest.param(False, marks=pytest.mark.long), True], ids=['test', 'train'])
@pytest.mark.parametrize('name, graphs', [('default', 3), ('vrwkv6', 2)])
def test_compiled_step_is_the_same_in_one_graph(name: str, graphs: int,
                                                train: bool, redraw: Callable,
                                                relative_error: Callable
                                                ) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name], num_layers=1)
    clip = draw_clip(1, 2, dtype=torch.float64)
    counters = torch._dynamo.utils.counters
    counters.clear()
    results = []
    for model.compile_step in (False, True):
        with torch.set_grad_enabled(train):
            _, state = model.forward_step(clip[:, :, 0])
            feature, _ = model.forward_step(clip[:, :, 1], state)
        results.append([feature])
        if train:
            feature.square().sum().backward()
            results[-1] += [p.grad for p in model.parameters()]
            model.zero_grad()
    for eager, compiled in zip(*results):
        if eager.norm() == 0:
            assert compiled.norm() < FLOAT64_TOLERANCE
        else:
            assert relative_error(compiled, eager) < FLOAT64_TOLERANCE
    assert counters['graph_break'] == {}
    # answer, and ask of the first and of a later frame; or all of a layer
    assert counters['stats']['unique_graphs'] == graphs


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine without one; what was found before is forgotten."""
    monkeypatch.setenv('CXX', 'no-such-compiler')
    compiled_functions.cache_clear()
    yield
    compiled_functions.cache_clear()


def test_no_compiler_is_a_warning(redraw: Callable, no_compiler: None) -> None:
    model, clip = build(redraw, compile_step=True), draw_clip(1, 1)
    with pytest.warns(UserWarning, match='C\\+\\+ compiler'):
        compiled = model(clip)
    model.compile_step = False
    assert torch.equal(compiled, model(clip))


@pytest.mark.parametrize('name', ['default', 'difference'])
def test_step_leaves_its_state_as_it_was(name: str,
                                         redraw: Callable) -> None:
    """A state may be kept and continued twice."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    _, state = model.forward_step(clip[:, :, 0])
    kept = [t.clone() for t in tree_leaves(state) if isinstance(t, Tensor)]
    first, _ = model.forward_step(clip[:, :, 1], state)
    again, _ = model.forward_step(clip[:, :, 1], state)
    assert torch.equal(first, again)
    after = [t for t in tree_leaves(state) if isinstance(t, Tensor)]
    assert all(torch.equal(a, b) for a, b in zip(after, kept))


@pytest.mark.parametrize('name', [
    'default', 'coupled', 'coupled-residual', 'position', 'difference',
    'no-edges', 'vrwkv6', 'vrwkv6-post-norm'
])
def test_kept_memory_is_what_the_next_cell_has_of_the_last(
        name: str, redraw: Callable) -> None:
    """The derivative of each cell by the one of the frame before."""
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(2, 3, dtype=torch.float64)
    state = model.forward_frames(clip[:, :, :2])[1]
    kept = model.kept_memory(clip[:, :, 2], state)
    assert kept.shape == (2, 2, 5, 4)
    for layer, of_layer in enumerate(kept):
        c = state.layers.c.detach().requires_grad_()
        before = state._replace(layers=state.layers._replace(c=c))
        after = model.forward_step(clip[:, :, 2], before)[1]
        factor, = torch.autograd.grad(after.layers.c[layer].sum(), c)
        expected = factor[layer, :, :-1].mean(-1).unflatten(-1, (5, 4))
        torch.testing.assert_close(
            of_layer, expected, rtol=0, atol=FLOAT64_TOLERANCE)
    assert not kept.requires_grad
    first = model.kept_memory(clip[:, :, 2])
    assert torch.equal(first, kept) == (name != 'difference')


def test_energies_are_norms_of_the_first_memory(redraw: Callable) -> None:
    model = build(redraw)
    clip = draw_clip(2, 4)
    old = model.forward_frames(clip)[1]
    joined = old.join(model.forward_frames(clip[:, :, 2:])[1])
    for energy, tokens in zip(joined.energies(), (old.layers.h, old.layers.c)):
        assert energy.shape == (2, 2, 20)
        for layer, sample, patch in ((0, 1, 0), (1, 0, 19)):
            channels = tokens[layer, sample, patch].tolist()
            assert energy[layer, sample, patch].item() == pytest.approx(
                sum(value**2 for value in channels)**0.5, rel=1e-5)


@pytest.mark.parametrize('layer', [0, 1])
@pytest.mark.parametrize('name', OPTIONS)
def test_a_clip_cut_at_a_layer_is_whole(name: str, layer: int,
                                        redraw: Callable) -> None:
    """What arrives there makes the feature, with gradients of every frame."""
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(2, 3, dtype=torch.float64)
    with torch.no_grad():
        x, e, feature = model.cut(clip, layer)
    made = feature(x.requires_grad_(), e.requires_grad_())
    torch.testing.assert_close(
        made, model(clip), rtol=FLOAT64_TOLERANCE, atol=FLOAT64_TOLERANCE)
    gradients = torch.autograd.grad(made.sum(), (x, e))
    assert all((g != 0).flatten(2).any(-1).all() for g in gradients)


def test_there_is_no_cut_above_the_last_layer(redraw: Callable) -> None:
    model = build(redraw)
    for layer in (-1, 2):
        with pytest.raises(ValueError, match=f'no layer {layer}, only 0 to 1'):
            model.cut(draw_clip(), layer)


@pytest.mark.parametrize('fused', [True, False], ids=['fused', 'plain'])
@pytest.mark.parametrize('name', OPTIONS)
def test_memories_of_the_same_frames_go_together(name: str, fused: bool,
                                                 redraw: Callable) -> None:
    """One began two frames after the other; then that one is dropped."""
    model = build(redraw, **OPTIONS[name], fused_kernels=fused)
    clip = draw_clip(2, 6)
    with torch.no_grad():
        old = model.forward_frames(clip[:, :, :3])[1]
        new = model.forward_frames(clip[:, :, 2:3])[1]
        both = old.join(new)
        spare = LayerState._make(
            None if t is None else t.clone() for t in new.layers)
        for t in (3, 4, 5):
            frame = clip[:, :, t]
            of_old, old = model.forward_step(frame, old)
            of_new, new = model.forward_step(frame, new)
            if t == 5:
                both = both.without_first(spare if fused else None)
            of_both, both = model.forward_step(frame, both)
            expected = of_new if t == 5 else torch.cat([of_old, of_new])
            torch.testing.assert_close(
                of_both, expected, rtol=0,
                atol=SAME_FLOAT32_TOLERANCE * float(expected.norm()))


@pytest.mark.parametrize('fused', [True, False], ids=['fused', 'plain'])
@pytest.mark.parametrize('name', OPTIONS)
def test_a_state_may_be_written_over(name: str, fused: bool,
                                     redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name], fused_kernels=fused)
    clip, own, other = draw_clip(), None, None
    with torch.no_grad():
        for frame in clip.split(1, dim=2):
            expected, own = model.forward_frames(frame, own)
            found, other = model.forward_frames(
                frame, other, place=other and other.layers)
            assert torch.equal(found, expected)


@pytest.mark.parametrize('name', ['default', 'difference'])
def test_buffer_of_a_frame_may_be_reused(name: str,
                                         redraw: Callable) -> None:
    """A camera writes every frame to the same memory."""
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    buffer, state = torch.empty_like(clip[:, :, 0]), None
    for frame in clip.unbind(2):
        buffer.copy_(frame)
        feature, state = model.forward_step(buffer, state)
    assert torch.equal(feature, stream(model, clip)[-1])


@pytest.mark.parametrize('name', OPTIONS)
def test_later_frames_never_reach_earlier_outputs(name: str,
                                                  redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name], supervised_frames=5).train()
    clip = draw_clip(T=5)
    other = clip.clone()
    other[:, :, 3:] = torch.nan
    before, after = model(clip), model(other)  # (B, T, 2D)
    assert torch.equal(before[:, :3], after[:, :3])
    assert after[:, 3:].isnan().any(-1).all()


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', ['default', 'conv', 'coupled-residual'])
def test_one_clip_never_reaches_another(name: str, masked: bool,
                                        redraw: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(3)
    mask = draw_mask(3, 5, 4, 9) if masked else None
    alone = model(clip, mask)
    clip[1] = torch.nan
    features = model(clip, mask)
    assert features[1].isnan().any()
    assert torch.equal(features[[0, 2]], alone[[0, 2]])


@pytest.mark.parametrize('name', ['default', 'clip', 'coupled', 'residual'])
def test_endless_stream_stays_finite(name: str, redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name])
    state = None
    with torch.no_grad():
        for _ in range(200):
            frame = 5 * draw_clip(1, 1, 4, 4)[:, :, 0]
            feature, state = model.forward_step(frame, state)
            assert feature.isfinite().all()


# ---- tube masking


@pytest.mark.parametrize('name',
                         ['default', 'paper', 'coupled-residual', 'position'])
def test_dropped_patches_do_not_matter(name: str, redraw: Callable,
                                       relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    mask = draw_mask(2, 5, 4, 9)
    pixels = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels = pixels[:, None, None].expand_as(clip)
    noise = torch.where(pixels, 1e3 * torch.randn_like(clip), 0.)
    assert torch.equal(model(clip + noise, mask), model(clip, mask))
    assert relative_error(model(clip + noise), model(clip)) > DIFFERENT


@pytest.mark.parametrize('name', OPTIONS)
def test_mask_that_drops_nothing(name: str, redraw: Callable,
                                 relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    nothing = torch.zeros(2, 5, 4, dtype=torch.bool)
    assert relative_error(model(clip, nothing),
                          model(clip)) < SAME_FLOAT32_TOLERANCE


@pytest.mark.parametrize('name', ['default', 'conv', 'mean', 'attention'])
def test_each_clip_has_its_mask(name: str, redraw: Callable,
                                relative_error: Callable) -> None:
    model = build(redraw, torch.float64, **OPTIONS[name])
    clip = draw_clip(dtype=torch.float64)
    masks = draw_mask(2, 5, 4, 9)
    features = model(clip, masks)
    for b in (0, 1):
        alone = model(clip[b:b + 1], masks[b:b + 1])[0]
        assert relative_error(features[b], alone) < FLOAT64_TOLERANCE
    swapped = model(clip, masks.flip(0))
    assert relative_error(features, swapped) > DIFFERENT


@pytest.mark.parametrize(
    'clips, masks', [(2, 1), (2, 3), (1, 3)],
    ids=['clips2-masks1', 'clips2-masks3', 'clips1-masks3'])
def test_one_mask_a_clip(clips: int, masks: int, redraw: Callable) -> None:
    with pytest.raises(ValueError, match='tube_mask'):
        build(redraw)(draw_clip(clips), draw_mask(masks, 5, 4, 9))


# ---- weights


@pytest.mark.parametrize('masked', [False, True], ids=['whole', 'masked'])
@pytest.mark.parametrize('name', OPTIONS)
def test_gradients_reach_every_weight(name: str, masked: bool,
                                      redraw: Callable) -> None:
    model = build(redraw, **OPTIONS[name])
    mask = draw_mask(2, 5, 4, 9) if masked else None
    model(draw_clip(T=3), mask).square().sum().backward()
    missed = [
        name for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    # Keys and values come from the edge prompt, which is the same for all
    # layers: what patches pass on by x, h and c never reaches the CLS token.
    # So eq. (11) leaves the two mixes that only patches have without effect.
    reads_cls = OPTIONS[name].get('readout', TINY['readout']) == 'cls'
    unread = ('mu_x', 'mu_a') if reads_cls else ()
    # In the other stack patches read patches, and nobody reads CLS.
    if 'stack' in OPTIONS[name] and OPTIONS[name]['readout'] == 'mean':
        unread = ('cls_token', )
    assert missed == [
        name for name, _ in model.named_parameters() if name.endswith(unread)
    ]
    not_finite = [
        name for name, weight in model.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    assert not_finite == []


class LiveMemory(TorchDispatchMode):
    """Bytes of the tensors made so far that are still there, and most ever.

    Counted by storage, so that views and the machine do not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.storages: Dict[int, Any] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: Optional[dict] = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.storages:
            return

        def gone(_: Any) -> None:
            del self.storages[key]
            self.now -= size

        self.storages[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


# of the activation memory without checkpointing
CHECKPOINTED_MEMORY = 0.4


def test_checkpointing_gives_the_same_gradients_for_less_memory(
        redraw: Callable, relative_error: Callable) -> None:
    model = build(
        redraw, torch.float64, num_layers=8, supervised_frames=2,
        readout='mean')
    clip = draw_clip(T=6, height=40, width=40, dtype=torch.float64)
    mask = draw_mask(2, 10, 10, 50)
    gradients, memory = [], []
    for with_cp in (False, True):
        model.train().with_cp = with_cp
        with LiveMemory() as live:
            model(clip, mask).square().sum().backward()
        memory.append(live.peak)
        gradients.append([weight.grad for weight in model.parameters()])
        model.zero_grad()
    for a, b in zip(*gradients):
        assert relative_error(a, b) < FLOAT64_TOLERANCE
    assert memory[1] < CHECKPOINTED_MEMORY * memory[0], memory


def test_training_starts_from_the_image_alone(redraw: Callable,
                                              relative_error: Callable
                                              ) -> None:
    """The edges join through a convolution that starts at zero."""
    model = LCR(**TINY)
    model.init_weights()
    clip, other = draw_clip(), draw_clip()
    other[:, :3] = clip[:, :3]
    assert torch.equal(model(clip), model(other))
    model(clip).square().sum().backward()
    assert model.zero_conv.weight.grad.any()  # and learns to use them
    redraw(model)
    assert relative_error(model(clip), model(other)) > DIFFERENT


def test_without_edge_prompt_the_fourth_channel_is_ignored(
        redraw: Callable) -> None:
    model, clip = build(redraw, edge_prompt=False), draw_clip()
    feature = model(clip)
    assert torch.equal(model(clip[:, :3]), feature)
    clip[:, 3] = torch.nan
    assert torch.equal(model(clip), feature)


@pytest.mark.parametrize('position_grid', [None, (5, 4)],
                         ids=['no-position', 'position'])
def test_pretrained_weights_survive_init(position_grid: Optional[tuple],
                                         tmp_path: Path,
                                         redraw: Callable) -> None:
    pretrained = build(redraw, position_grid=position_grid).state_dict()
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=pretrained), path)
    model = LCR(
        **TINY,
        position_grid=position_grid,
        init_cfg=dict(type='Pretrained', checkpoint=path))
    model.init_weights()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, pretrained[name]), name


def test_attention_starts_as_the_mean_and_cls(
        relative_error: Callable) -> None:
    attention = LCR(**{**TINY, 'readout': 'attention'})
    attention.init_weights()
    clip, parts = draw_clip(), []
    for readout in ('mean', 'cls'):
        part = LCR(**{**TINY, 'readout': readout})
        part.load_state_dict(attention.state_dict(), strict=False)
        parts.append(part(clip))
    assert relative_error(attention(clip), sum(parts)) < SAME_FLOAT32_TOLERANCE


def test_from_scratch_cls_and_position_are_drawn() -> None:
    model = LCR(**TINY, position_grid=(20, 20))
    assert not model.cls_token.any() and not model.position.any()
    model.init_weights()
    assert model.cls_token.any()
    # 6,400 draws: the deviation is known to one part in a hundred
    assert model.position.std().item() == pytest.approx(0.02, rel=0.05)


def test_size_of_the_jester_model() -> None:
    """The paper reports 5.14 M with its head."""
    defaults = LCR(position_grid=(14, 14))
    assert sum(p.numel() for p in defaults.parameters()) <= 5.4e6
    explicit = LCR(
        embed_dims=192,
        num_heads=3,
        num_layers=8,
        patch_size=16,
        hidden_rate=2,
        position_grid=(14, 14))
    assert [p.shape for p in explicit.parameters()
            ] == [p.shape for p in defaults.parameters()]


def test_registered_in_mmaction(redraw: Callable) -> None:
    model = MODELS.build(dict(type='LCR', **TINY))
    assert type(model) is LCR
    with pytest.raises(TypeError, match='num_head'):
        MODELS.build(dict(type='LCR', num_head=3))


# ---- precision


def test_float64_has_a_state_in_float64(redraw: Callable) -> None:
    model = build(redraw, torch.float64)
    feature, state = model.forward_step(
        draw_clip(dtype=torch.float64)[:, :, 0])
    assert feature.dtype == torch.float64
    assert {t.dtype for t in tree_leaves(state.layers)} == {torch.float64}


@pytest.mark.parametrize('name', ['default', 'conv', 'coupled-residual'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16],
                         ids=['bf16', 'fp16'])
def test_autocast_keeps_the_state_in_float32(dtype: torch.dtype, name: str,
                                             redraw: Callable,
                                             relative_error: Callable) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip()
    expected = model(clip[:, :, :1])
    with torch.autocast('cpu', dtype):
        feature, state = model.forward_frames(clip)
        first, after_step = model.forward_step(clip[:, :, 0])
    assert feature.isfinite().all()
    # of the first frame: the paper's cell multiplies rounding frame by frame
    assert relative_error(first, expected) < AUTOCAST_TOLERANCE
    for layers in (state.layers, after_step.layers):
        assert layers.h.dtype == layers.c.dtype == torch.float32
    loss = feature.square().sum()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


# ---- what is refused


@pytest.mark.parametrize('options, message', [
    (dict(embed_dims=18, num_heads=4), 'embed_dims=18 and num_heads=4'),
    (dict(embed_dims=24, num_heads=4), 'embed_dims=24 and num_heads=4'),
    (dict(num_heads=0), 'num_heads=0'),
    (dict(num_layers=0), 'num_layers=0'),
    (dict(stem_input='rgb'), "stem_input .*'rgb'"),
    (dict(patch_size=0), 'patch_size=0'),
    (dict(supervised_frames=0), 'supervised_frames=0'),
    (dict(stem='conv', patch_size=6), 'power of two, got 6'),
    (dict(stem='linear'), "'linear'"),
    (dict(cell='gru'), "'gru'"),
    (dict(cell_clip=-2.), 'cell_clip.*-2.0'),
    (dict(layer_input='A'), "'A'"),
    (dict(readout='max'), "'max'"),
],
                         ids=lambda value: '-'.join(
                             f'{k}={v}' for k, v in value.items())
                         if isinstance(value, dict) else 'refused')
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**{**TINY, **options})


@pytest.mark.parametrize('shape, message', [
    ((2, 3, 4, 20, 16), r'\(2, 3, 4, 20, 16\).*to_rgb'),
    ((2, 5, 4, 20, 16), r'\(2, 5, 4, 20, 16\)'),
    ((4, 4, 20, 16), r'\(4, 4, 20, 16\)'),
    ((2, 1, 4, 4, 20, 16), r'\(2, 1, 4, 4, 20, 16\)'),
    ((2, 4, 0, 20, 16), r'\(2, 4, 0, 20, 16\)'),
    ((2, 4, 4, 21, 16), 'patch size 4 .*21x16'),
    ((2, 4, 4, 20, 18), 'patch size 4 .*20x18'),
],
                         ids=[
                             'no-edges', 'five-channels', 'no-time', 'views',
                             'no-frames', 'height', 'width'
                         ])
def test_clips_that_do_not_fit(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**TINY)(torch.zeros(shape))


@pytest.mark.parametrize('shape, message', [
    ((2, 3, 20, 16), r'\(2, 3, 1, 20, 16\)'),
    ((2, 4, 22, 16), 'patch size 4 .*22x16'),
],
                         ids=['no-edges', 'height'])
def test_frames_that_do_not_fit(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**TINY).forward_step(torch.zeros(shape))


def test_states_that_do_not_fit(redraw: Callable) -> None:
    model, frame = build(redraw), draw_clip()[:, :, 0]
    _, state = model.forward_step(frame)
    with pytest.raises(ValueError, match=r'\(2, 2, 21, 16\).*\(1, 2, 21'):
        build(redraw, num_layers=1).forward_step(frame, state)
    with pytest.raises(ValueError, match=r'2, 21, 16\).*1, 21, 16\)'):
        model.forward_step(frame[:1], state)
    with pytest.raises(ValueError, match=r'\(2, 2, 21, 16\).*2, 17, 16\)'):
        model.forward_step(frame[:, :, :16], state)
    with pytest.raises(ValueError, match=r'h .*\(2, 2, 21, 16\).*4, 21, 16\)'):
        model.forward_step(frame, state._replace(memories=2))
    layers = state.layers
    for name, wrong in (('c', layers._replace(c=layers.c[:, :1])),
                        ('x', layers._replace(x=None))):
        with pytest.raises(ValueError, match=f'its {name} '):
            model.forward_step(frame, state._replace(layers=wrong))
    with pytest.raises(ValueError, match='its prompt .* None, not '):
        model.forward_step(frame, state._replace(prompt=None))
    with pytest.raises(ValueError, match='its prompt .*, not None'):
        build(redraw, **PAPER).forward_step(
            frame, state._replace(layers=layers._replace(x=None)))
    other = build(redraw, **OPTIONS['difference'])
    _, state = other.forward_step(frame)
    with pytest.raises(ValueError, match=r'its frame is \(2, 4, 20, 15\)'):
        other.forward_step(frame, state._replace(frame=frame[..., 1:]))
    _, masked = model.forward_frames(
        draw_clip(), tube_mask=draw_mask(2, 5, 4, 9))
    with pytest.raises(ValueError, match=r'2, 12, 16\).*2, 21, 16\)'):
        model.forward_step(frame, masked)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_told_of_autocast(
        dtype: torch.dtype) -> None:
    model = LCR(embed_dims=16, num_heads=1, num_layers=1, patch_size=8,
                stem='conv').to(dtype)
    clip = torch.zeros(1, 4, 2, 16, 16, dtype=dtype)
    with pytest.raises(TypeError, match=f'{dtype}.*--amp.*test_cfg.fp16'):
        model(clip)
    with pytest.raises(TypeError, match='autocast'):
        model.forward_step(clip[:, :, 0])
