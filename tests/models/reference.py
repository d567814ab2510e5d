# Copyright (c) The mmlcr authors. All rights reserved.
"""An independent implementation of LCR: equations (1) to (11) in float64.

The tests compare LCR with it. It processes one clip, frame by frame, and
imports nothing of the package: it uses only the state dict of a model, by
names, and the options that the weights do not determine. Every operation is
differentiable, so that gradients can be compared, too.

The letters are the paper's: ``D`` channels in ``H`` heads of ``K`` channels,
``L`` tokens in a frame (the patches that are kept in raster order, then CLS),
patches of ``P x P`` pixels. ``x`` are the tokens of a frame, ``e`` the tokens
of its edge prompt, ``h`` and ``c`` hidden state and cell.
"""
import math
from typing import Dict, List, Mapping, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

# LCR's defaults of options
DEFAULTS = dict(
    num_heads=3,
    patch_size=16,
    stem='patch',
    temporal_shift=True,
    stem_input='frame',
    edge_prompt=True,
    cell='coupled',
    cell_clip=None,
    rotary=True,
    readout='mean')
# bound of the ratio of two frequencies of the rotary position
ROTARY_BASE = 100.
# (row, column) of each patch that is kept
Positions = List[Tuple[int, int]]
Weights = Mapping[str, Tensor]


def reference_feature(weights: Weights,
                      options: dict,
                      clip: Tensor,
                      tube_mask: Optional[Tensor] = None) -> Tensor:
    """Compute the feature of a clip, shape ``(2D, )``.

    It is the last of :func:`reference_features`, with the same arguments.
    """
    return reference_features(weights, options, clip, tube_mask)[-1]


def reference_features(weights: Weights,
                       options: dict,
                       clip: Tensor,
                       tube_mask: Optional[Tensor] = None) -> Tensor:
    """Compute the features of a clip after every frame.

    Args:
        weights (Mapping[str, Tensor]): A state dict of LCR, of any dtype.
        options (dict): Arguments of LCR; those of :data:`DEFAULTS` are read.
        clip (Tensor): Normalized RGB and edge map, shape
            ``(4, T, height, width)``.
        tube_mask (Tensor, optional): Bool, shape ``(rows, cols)``, True where
            a patch is dropped in every frame. Defaults to None.

    Returns:
        Tensor: Features in float64, shape ``(T, 2D)``.
    """
    options = {**DEFAULTS, **_layer_options(options), **options}
    weights = {name: weight.double() for name, weight in weights.items()}
    other_stack = options['type'] == 'VRWKV6Layer'
    layer = _vrwkv6_layer if other_stack else _cross_rwkv_layer
    by_layer = _split_by_layer(weights)
    P = options['patch_size']
    positions = [(row, col) for row in range(clip.shape[2] // P)
                 for col in range(clip.shape[3] // P)
                 if tube_mask is None or not tube_mask[row, col]]
    states: List[Dict[str, Tensor]] = [{} for _ in by_layer]
    features, frame_before = [], clip[:, 0].double()
    for frame in clip.double().unbind(1):
        x, e = _embed(weights, frame, frame_before, positions, options)
        frame_before = frame
        if other_stack:
            x = _norm(weights, 'norm_0', x)
        e_norm = _norm(weights, 'norm_e', e)
        for own, state in zip(by_layer, states):
            x = layer(own, x, e, e_norm, state, positions, options)
        if other_stack:
            x = _norm(weights, 'norm_out', x)
        features.append(
            _read(weights, torch.cat([x, states[-1]['c']], -1), options))
    return torch.stack(features)


def _layer_options(options: dict) -> dict:
    """The options of the layers, with their defaults."""
    defaults = dict(type='CrossRWKVLayer', residual=False, post_norm=False)
    return {**defaults, **(options.get('layer') or {})}


def _split_by_layer(weights: Weights) -> List[Dict[str, Tensor]]:
    """The weights of each layer, by their names within a layer."""
    layers: Dict[int, Dict[str, Tensor]] = {}
    for name, weight in weights.items():
        if name.startswith('layers.'):
            _, index, own = name.split('.', 2)
            layers.setdefault(int(index), {})[own] = weight
    return [layers[index] for index in range(len(layers))]


# ---- eqs. (1), (2): from pixels to tokens


def _embed(weights: Weights, frame: Tensor, before: Tensor,
           positions: Positions, options: dict) -> Tuple[Tensor, Tensor]:
    """Equations (1) and (2).

    ``x = stem(rgb) [+ position]``, ``e = x + zero_conv(edge_stem(edges))``,
    each with the CLS token at its end.

    Args:
        weights (Mapping[str, Tensor]): Weights of the model.
        frame (Tensor): RGB and edge map, ``(4, height, width)``.
        before (Tensor): The previous frame; the first one has itself.
        positions (list): Row and column of each patch that is kept.
        options (dict): Options of the model.

    Returns:
        tuple[Tensor, Tensor]: ``x`` and ``e``, both ``(L, D)``.
    """
    inputs = dict(
        frame=[frame],
        difference=[frame - before],
        both=[frame, frame - before])[options['stem_input']]
    rgb = torch.cat([t[:3] for t in inputs])
    edges = torch.cat([t[3:] for t in inputs])
    image = _stem(weights, 'stem', rgb, options)  # (D, rows, cols)
    position = weights.get('position')
    if position is not None:
        grid = image.shape[1:]
        if position.shape[2:] != grid:
            position = F.interpolate(
                position, tuple(grid), mode='bicubic', align_corners=False)
        image = image + position[0]
    prompt = image
    if options['edge_prompt']:
        edge = _stem(weights, 'edge_stem', edges, options)
        prompt = image + torch.einsum(
            'de,erc->drc', weights['zero_conv.weight'][:, :, 0, 0],
            edge) + weights['zero_conv.bias'][:, None, None]
    cls = weights['cls_token']
    x, e = (
        torch.stack([t[:, row, col] for row, col in positions] + [cls])
        for t in (image, prompt))
    return x, e


def _stem(weights: Weights, name: str, image: Tensor,
          options: dict) -> Tensor:
    """Patches of an image ``(channels, height, width)``.

    Returns ``(D, rows, cols)``. ``'patch'`` is a matrix times the pixels of
    each patch; ``'conv'`` is 3x3 convolutions of stride 2, each with a group
    norm and GELU, as many as halve the side of a patch to one pixel.
    """
    if options['stem'] == 'patch':
        P = options['patch_size']
        rows, cols = image.shape[1] // P, image.shape[2] // P
        matrix = weights[f'{name}.projection.weight'].flatten(1)
        bias = weights[f'{name}.projection.bias']
        tokens = [
            matrix @ image[:, row * P:(row + 1) * P,
                           col * P:(col + 1) * P].flatten() + bias
            for row in range(rows) for col in range(cols)
        ]
        return torch.stack(tokens, -1).unflatten(-1, (rows, cols))
    for halving in range(int(math.log2(options['patch_size']))):
        conv, norm = (f'{name}.layers.{3 * halving + i}' for i in (0, 1))
        image = F.conv2d(
            image[None],
            weights[f'{conv}.weight'],
            weights[f'{conv}.bias'],
            stride=2,
            padding=1)
        groups = math.gcd(image.shape[1], 4)
        image = F.gelu(
            F.group_norm(image, groups, weights[f'{norm}.weight'],
                         weights[f'{norm}.bias']))[0]
    return image


# ---- eqs. (3) to (10): a layer


def _cross_rwkv_layer(weights: Weights, x: Tensor, e: Tensor, e_norm: Tensor,
                      state: Dict[str, Tensor], positions: Positions,
                      options: dict) -> Tensor:
    """Equations (3) to (10) for one frame.

    Args:
        weights (Mapping[str, Tensor]): Weights of the layer.
        x (Tensor): Input of the layer, ``(L, D)``.
        e (Tensor): Edge prompt, ``(L, D)``.
        e_norm (Tensor): Its layer norm, ``(L, D)``.
        state (dict): State after the previous frame, empty before the first;
            the new state is written to it.
        positions (list): Row and column of each patch that is kept.
        options (dict): Options of the model.

    Returns:
        Tensor: Output of the layer, ``(L, D)``.
    """
    D, H = x.shape[1], options['num_heads']
    h = state.get('h', torch.zeros_like(x))
    x_norm, h_norm = _norm(weights, 'norm_x', x), _norm(weights, 'norm_h', h)

    def mix(t: Tensor, name: str) -> Tensor:
        """``(1 - mu) t + mu shift(t)``, eq. (3)."""
        mu = weights[name]
        return (1 - mu) * t + mu * _neighbours(t, positions, H)

    x_in, e_in = mix(x_norm, 'mu_x'), mix(e_norm, 'mu_e')
    if options['temporal_shift']:
        x_in = torch.cat([x_in, x_norm - state.get('x', x_norm)], -1)
        e_in = torch.cat([e_in, e_norm - state.get('e', e_norm)], -1)
        state.update(x=x_norm, e=e_norm)
    # (4): r, g = W [x_in; norm(h)]
    r_g = torch.cat([x_in, h_norm], -1) @ weights['receptance_gate.weight'].T
    r, g = r_g[:, :D], r_g[:, D:]
    k_v = e_in @ weights['key_value.weight'].T  # (5): k, v = W e_in
    k, v = k_v[:, :D], k_v[:, D:]
    r, k, v = (t.reshape(len(x), H, D // H) for t in (r, k, v))
    if options['rotary']:
        r, k = _rotate(r, positions), _rotate(k, positions)
    w = -torch.exp(weights['decay']).expand_as(k)
    y = _bi_wkv(r, k, v, w, weights['bonus'])  # (6)
    y = _norm_heads(weights, y)
    # (7): a = x + W (silu(g) * norm(y))
    a = x + (g / (1 + torch.exp(-g)) * y) @ weights['output.weight'].T

    a_in = mix(_norm(weights, 'norm_a', a), 'mu_a')
    r_k = a_in @ weights['receptance_key.weight'].T
    r, k = r_k[:, :D], r_k[:, D:]
    # (8): A = a + sigmoid(r) * W relu(k)^2
    A = a + (k.clamp(min=0)**2 @ weights['value.weight'].T) / (
        1 + torch.exp(-r))
    h = _remember(weights, A, e, state, options)
    return A + h if options['residual'] else h


def _vrwkv6_layer(weights: Weights, x: Tensor, e: Tensor, e_norm: Tensor,
                  state: Dict[str, Tensor], positions: Positions,
                  options: dict) -> Tensor:
    """A layer of Vision-RWKV with LCR's cell, for one frame.

    Arguments and result are those of :func:`_cross_rwkv_layer`. Receptance,
    key, value, gate and decay each read their own mixture of a token and its
    neighbours; the decay is one of each token; CLS has no key.
    """
    post_norm, (L, D) = options['post_norm'], x.shape
    H = options['num_heads']
    h = state.get('h', torch.zeros_like(x))

    def add(branch: Tensor, name: str) -> Tensor:
        """Apply the optional norm and scale to a branch."""
        if post_norm:
            branch = _norm(weights, f'norm_{name}', branch)
        return branch * weights.get(f'scale_{name}', 1.)

    def mix(t: Tensor, branch: int) -> Tensor:
        """``t + (mu + low_rank(base)) (shift(t) - t)``, of a branch."""
        step = _neighbours(t, positions, H) - t
        base = t + step * weights['mu_base']
        down = weights['mix_down.weight'].view(5, -1, D)[branch]
        mu = weights['mu'][branch] + torch.tanh(
            base @ down.T) @ weights['mix_up'][branch]
        return t + step * mu

    x_in = x if post_norm else _norm(weights, 'norm_x', x)
    prompt = e_norm @ weights['prompt.weight'].T
    w = weights['decay'] + torch.tanh(
        mix(x_in + prompt, 0) @ weights['decay_down.weight'].T
    ) @ weights['decay_up.weight'].T
    k = mix(x_in + prompt, 1) @ weights['key.weight'].T
    v = mix(x_in + prompt, 2) @ weights['value.weight'].T
    r = mix(x_in, 3) @ weights['receptance.weight'].T
    g = mix(x_in, 4) @ weights['gate.weight'].T
    past = _norm(weights, 'norm_h', h)
    if options['temporal_shift']:
        change = x_in - state.get('x', x_in)
        past = torch.cat([change, past], -1)
        change = change + prompt - state.get('prompt', prompt)
        state.update(x=x_in, prompt=prompt)
        k = k + change @ weights['change.weight'][:D].T
        v = v + change @ weights['change.weight'][D:].T
    r = r + past @ weights['past.weight'][:D].T
    g = g + past @ weights['past.weight'][D:].T
    k = torch.cat([k[:-1], torch.zeros_like(k[-1:])])
    r, k, v, w = (t.reshape(L, H, D // H) for t in (r, k, v, w))
    if options['rotary']:
        r, k = _rotate(r, positions), _rotate(k, positions)
    y = _norm_heads(weights,
                    _bi_wkv(r, k, v, -torch.exp(w), weights['bonus']))
    silu = g / (1 + torch.exp(-g))
    a = x + add((silu * y) @ weights['output.weight'].T, 'x')

    a_in = a if post_norm else _norm(weights, 'norm_a', a)
    step = _neighbours(a_in, positions, H) - a_in
    r = (a_in + step * weights['mu_receptance']
         ) @ weights['channel_receptance.weight'].T
    k = (a_in + step * weights['mu_key']) @ weights['channel_key.weight'].T
    inner = k.clamp(min=0)**2 @ weights['channel_value.weight'].T
    A = a + add(inner / (1 + torch.exp(-r)), 'a')
    return A + weights['memory_scale'] * _remember(weights, A, e, state,
                                                   options)


def _remember(weights: Weights, A: Tensor, e: Tensor,
              state: Dict[str, Tensor], options: dict) -> Tensor:
    """Equations (9) and (10): the hidden state ``(L, D)``.

    ``'paper'``: ``c_t = e_t * (tanh(A_t) + c_{t-1}) + c_{t-1}``, within
    ``cell_clip``. ``'coupled'``: ``c_t = f * c_{t-1} + (1 - f) * tanh(A_t)``
    with ``f = sigmoid(W e_t + b)``. Then ``h_t = sigmoid(A_t) * tanh(c_t)``.
    """
    c = state.get('c', torch.zeros_like(A))
    if options['cell'] == 'paper':
        c = e * (torch.tanh(A) + c) + c  # (9)
        if options['cell_clip']:
            c = c.clamp(-options['cell_clip'], options['cell_clip'])
    else:
        logit = e @ weights['forget.weight'].T + weights['forget.bias']
        forget = 1 / (1 + torch.exp(-logit))
        c = forget * c + (1 - forget) * torch.tanh(A)
    h = torch.tanh(c) / (1 + torch.exp(-A))  # (10)
    state.update(h=h, c=c)
    return h


# ---- parts of a layer


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """The layer norm of ``(L, D)`` by its name."""
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'],
                        weights[f'{name}.bias'])


def _norm_heads(weights: Weights, y: Tensor) -> Tensor:
    """Equation (7): a group norm by heads, ``(L, H, K)`` to ``(L, D)``."""
    mean, variance = y.mean(-1, True), y.var(-1, correction=0, keepdim=True)
    y = ((y - mean) / (variance + 1e-5).sqrt()).flatten(1)
    return y * weights['norm_y.weight'] + weights['norm_y.bias']


def _neighbours(t: Tensor, positions: Positions, H: int) -> Tensor:
    """The shift of eq. (3) for ``(L, D)``.

    The four quarters of each head come from the patch to the left, right,
    above and below, and are zero where that patch is dropped or outside. CLS
    keeps its own channels.
    """
    index = {pos: token for token, pos in enumerate(positions)}
    none, cls = len(t), len(t) - 1
    padded = torch.cat([t, torch.zeros_like(t[:1])]).unflatten(-1, (H, 4, -1))
    quarters = []
    for quarter, (down, right) in enumerate([(0, -1), (0, 1), (-1, 0),
                                             (1, 0)]):
        source = [
            index.get((row + down, col + right), none)
            for row, col in positions
        ]
        quarters.append(padded[source + [cls], :, quarter])
    return torch.stack(quarters, 2).flatten(1)


def _rotate(t: Tensor, positions: Positions) -> Tensor:
    """Rotate ``(L, H, K)`` by the position; CLS is not rotated.

    Pairs of channels are complex numbers: the first half of them turns with
    the row, the second one with the column.
    """
    pairs = t.shape[-1] // 2
    half = pairs // 2
    angles = [[
        (row if pair < half else col) * ROTARY_BASE**-(pair % half / half)
        for pair in range(pairs)
    ] for row, col in positions] + [[0.] * pairs]
    turn = torch.tensor(angles, dtype=torch.float64)[:, None]
    turned = torch.complex(t[..., ::2], t[..., 1::2]) * torch.complex(
        turn.cos(), turn.sin())
    return torch.stack([turned.real, turned.imag], -1).flatten(-2)


def _bi_wkv(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> Tensor:
    """Equation (6), with a log-decay of each token.

    ``y_l = r_l (diag(u) k_l^T v_l + sum_{i != l} diag(exp(s_li)) k_i^T v_i)``
    where ``s_li`` is the sum of ``w`` over the tokens strictly between ``i``
    and ``l``: ``(|l - i| - 1) w`` where all are the same.

    Args:
        r (Tensor): Receptance, ``(L, H, K)``.
        k (Tensor): Key, ``(L, H, K)``.
        v (Tensor): Value, ``(L, H, K)``.
        w (Tensor): Log-decay, negative, ``(L, H, K)``.
        u (Tensor): Bonus of the token itself, ``(H, K)``.

    Returns:
        Tensor: ``(L, H, K)``.
    """
    token = torch.arange(len(r))
    l, i, j = token.view(-1, 1, 1), token.view(-1, 1), token
    between = (torch.minimum(l, i) < j) & (j < torch.maximum(l, i))
    decay = torch.einsum('lij,jhk->lihk', between.double(), w).exp()
    itself = torch.eye(len(r), dtype=torch.bool)[..., None, None]
    decay = torch.where(itself, u, decay)
    return torch.einsum('lhk,lihk,ihk,ihv->lhv', r, decay, k, v)


# ---- eq. (11): from tokens to the feature


def _read(weights: Weights, tokens: Tensor, options: dict) -> Tensor:
    """Equation (11) before the head: ``[o; c]``, ``(L, 2D)`` to ``(2D, )``.

    ``'cls'`` is the CLS token, ``'mean'`` the mean of the patches, and
    ``'attention'`` CLS and a weighted mean of the patches, head by head.
    """
    patches, cls = tokens[:-1], tokens[-1]
    if options['readout'] == 'cls':
        return cls
    if options['readout'] == 'mean':
        return patches.mean(0)
    normed = _norm(weights, 'readout.norm', patches)
    scores = torch.exp(normed @ weights['readout.score.weight'].T)
    share = scores / scores.sum(0)  # (L - 1, 2H)
    by_head = patches.unflatten(-1, (share.shape[1], -1))
    return cls + torch.einsum('lh,lhk->hk', share, by_head).flatten()
