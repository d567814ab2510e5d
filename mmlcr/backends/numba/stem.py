# Copyright (c) The mmlcr authors. All rights reserved.
"""Tokens and edge prompt from pixels, for inference on a CPU in float32.

A thread runs a group of patches through :class:`mmlcr.layers.PatchStem` of
frames and edge maps, and all operations up to the layers.
"""
import math
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numba
import numpy as np
import torch
from numpy import float32 as f32
from torch import Tensor, nn

from mmlcr.backends.base import Tokens
from mmlcr.layers import Normalize, PatchStem, resize_position
from mmlcr.ops import TokenLayout
from .blas import BLAS, compiled, product
from .schedule import Passes, pass_frames
from .token_ops import add, copy, norm
from .workspace import as_array, share_threads, workspace

MAX_PATCHES = 56  # in a group


class StemArgs(NamedTuple):
    """The arguments of all kernels."""
    blas: int  # address of BLAS's matrix product
    size: int  # side of a patch in pixels
    clip: np.ndarray  # (B, channels, T, height, width), floats or bytes
    mean: np.ndarray  # (channels, ), of the normalization
    std: np.ndarray  # (channels, ), of the normalization
    patch_ids: np.ndarray  # (B or 1, L - 1), of patches in a frame's grid
    # results
    x: np.ndarray  # (T, B, L, D), tokens, CLS last
    e: np.ndarray  # (T, B, L, D), edge prompt
    prompt: np.ndarray  # (T, B, L, D), layer norm of e
    # weights
    weight: np.ndarray  # (3 * size * size, D)
    bias: np.ndarray  # (1 or all patch_ids, D)
    edge_weight: np.ndarray  # (size * size, D); (0, D) without edge prompt
    edge_bias: np.ndarray  # (D,)
    cls: np.ndarray  # (D,)
    norm: np.ndarray  # (D,)
    norm_bias: np.ndarray  # (D,)
    norm_0: np.ndarray  # (D,), of the tokens; (0,) without
    norm_0_bias: np.ndarray  # (D,), likewise
    pixels: np.ndarray  # (threads, patches of a group, 3 * size * size)


class NumbaStem:
    """Patch stems and edge prompt, :meth:`mmlcr.models.LCR.embed`.

    Args:
        stem (PatchStem): Stem of frames.
        edge_stem (PatchStem, optional): Stem of edge maps.
        zero_conv (nn.Conv2d, optional): The convolution after ``edge_stem``.
        position (Tensor, optional): Embedding, ``(1, D, rows, cols)``.
        cls_token (Tensor): Shape ``(D, )``.
        norm_e (nn.LayerNorm): Norm of the edge prompt.
        norm_0 (nn.Module): Norm of the tokens, or the identity.
        normalize (Normalize, optional): Normalization of uint8 clips.
    """

    def __init__(self, stem: PatchStem, edge_stem: Optional[PatchStem],
                 zero_conv: Optional[nn.Conv2d], position: Optional[Tensor],
                 cls_token: Tensor, norm_e: nn.LayerNorm, norm_0: nn.Module,
                 normalize: Optional[Normalize]) -> None:
        self.size = stem.projection.stride[0]
        self.position = position
        self._biases: Dict[Tuple[int, int], np.ndarray] = {}  # by grid
        self.normalize = normalize
        weight, bias = _matrix_and_bias(stem.projection)
        self.bias = bias.detach()[None]
        edge_weight, edge_bias = weight[:, :0], torch.zeros_like(bias)
        if edge_stem is not None and zero_conv is not None:
            # both are linear, so their product is precomputed
            edge_weight_in, edge_bias = _matrix_and_bias(edge_stem.projection)
            conv_weight, conv_bias = _matrix_and_bias(zero_conv)
            edge_weight = conv_weight @ edge_weight_in
            edge_bias = conv_weight @ edge_bias + conv_bias
        self.weights = dict(
            weight=as_array(weight.mT),
            edge_weight=as_array(edge_weight.mT),
            edge_bias=as_array(edge_bias),
            cls=as_array(cls_token),
            norm=as_array(norm_e.weight),
            norm_bias=as_array(norm_e.bias),
            norm_0=as_array(getattr(norm_0, 'weight', cls_token[:0])),
            norm_0_bias=as_array(getattr(norm_0, 'bias', cls_token[:0])))

    def __call__(self, clip: Tensor, layout: TokenLayout,
                 previous: Optional[Tensor] = None) -> Tokens:
        """Compute frame tokens and edge prompt, equations (1) and (2).

        Args:
            clip (Tensor): Shape ``(B, 4, T, height, width)``, normalized or
                uint8.
            layout (TokenLayout): Patches that become tokens.
            previous (Tensor, optional): Not used.

        Returns:
            Tokens: Each ``(T, B, L, D)``; valid until the next call.
        """
        (B, _, T), P = clip.shape[:3], layout.num_patches
        inputs, D = self.weights['weight'].shape
        results = [
            workspace(name, T, B, P + 1, D) for name in ('x', 'e', 'prompt')
        ]
        if clip.dtype == torch.uint8:
            assert self.normalize is not None
            normalize = self.normalize
        else:
            normalize = Normalize.identity(clip.shape[1])
            clip = clip.to(torch.float32)
        group = math.ceil(P / math.ceil(P / MAX_PATCHES))
        args = StemArgs(
            blas=BLAS,
            size=self.size,
            clip=clip.detach().numpy(),
            mean=as_array(normalize.mean),
            std=as_array(normalize.std),
            patch_ids=layout.patch_ids(clip.device).contiguous().numpy(),
            x=results[0],
            e=results[1],
            prompt=results[2],
            bias=self._grid_bias(layout.rows, layout.cols),
            pixels=workspace('inputs', share_threads(), group, inputs),
            **self.weights)
        pass_frames(*PASSES.bind(args), T, B, math.ceil(P / group))
        return Tokens(*map(torch.from_numpy, results))

    def _grid_bias(self, rows: int, cols: int) -> np.ndarray:
        if (rows, cols) not in self._biases:
            bias = self.bias
            if self.position is not None:
                position = resize_position(self.position, (rows, cols))
                bias = bias + position[0].flatten(1).mT
            self._biases[rows, cols] = as_array(bias)
        return self._biases[rows, cols]


def _matrix_and_bias(convolution: nn.Conv2d) -> Tuple[Tensor, Tensor]:
    assert convolution.bias is not None
    return convolution.weight.flatten(1), convolution.bias


@compiled
def _pass_patches(pointer: Any, i: int, frame: int, b: int, m: int) -> None:
    """Compute equations (1) and (2) for group ``m`` of patches."""
    args: StemArgs = pointer[0]
    group, L = args.pixels.shape[1], args.x.shape[2]
    start, stop = m * group, min(L - 1, m * group + group)
    x, e, prompt = args.x[frame, b], args.e[frame, b], args.prompt[frame, b]
    patch_ids = args.patch_ids[b % len(args.patch_ids)]
    pixels = args.pixels[numba.get_thread_id(), :stop - start]
    for l in range(start, stop):
        _copy_pixels(args, frame, b, patch_ids[l], 0, 3, pixels[l - start])
    product(args.blas, pixels, args.weight, f32(0), x[start:stop])
    for l in range(start, stop):
        add(x[l], args.bias[patch_ids[l] % len(args.bias)], e[l])
        _copy_token(args, e[l], x[l])
    edges = pixels[:, :len(args.edge_weight)]
    if edges.shape[1]:
        for l in range(start, stop):
            _copy_pixels(args, frame, b, patch_ids[l], 3, 4, edges[l - start])
        product(args.blas, edges, args.edge_weight, f32(1), e[start:stop])
    if stop == L - 1:
        _copy_token(args, args.cls, x[stop])
        copy(args.cls, e[stop])
        norm(e[stop], args.norm, args.norm_bias, prompt[stop])
    for l in range(start, stop):
        for j in range(e.shape[1]):
            e[l, j] += args.edge_bias[j]
        norm(e[l], args.norm, args.norm_bias, prompt[l])


@compiled
def _copy_token(args: StemArgs, token: np.ndarray, out: np.ndarray) -> None:
    """Copy a token to the layers' input, with their first norm, if any."""
    if len(args.norm_0):
        norm(token, args.norm_0, args.norm_0_bias, out)
    else:
        copy(token, out)


@compiled
def _copy_pixels(args: StemArgs, frame: int, b: int, patch: int, first: int,
                 last: int, out: np.ndarray) -> None:
    """Copy and normalize a patch's pixels, by channel, row and column."""
    size = args.size
    cols = args.clip.shape[4] // size
    row, col = patch // cols * size, patch % cols * size
    for channel in range(first, last):
        mean, std = args.mean[channel], args.std[channel]
        for i in range(size):
            line = args.clip[b, channel, frame, row + i]
            at = ((channel - first) * size + i) * size
            for j in range(size):
                out[at + j] = (f32(line[col + j]) - mean) / std


PASSES = Passes(_pass_patches)
