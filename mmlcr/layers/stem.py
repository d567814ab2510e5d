# Copyright (c) The mmlcr authors. All rights reserved.
"""Stems, which turn pixels into tokens: equations (1) and (2)."""
import math
from typing import NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from einops import rearrange
from mmengine.model import BaseModule
from torch import Tensor, nn


class Normalize(NamedTuple):
    """Normalization of uint8 pixels for the stems."""
    mean: Tensor  # (channels, )
    std: Tensor  # (channels, )

    @classmethod
    def identity(cls, channels: int) -> 'Normalize':
        """Return the identity, for clips that are already normalized."""
        return cls(torch.zeros(channels), torch.ones(channels))

    def __call__(self, clip: Tensor, dtype: torch.dtype) -> Tensor:
        """Normalize ``(B, channels, T, height, width)``."""
        wide = torch.promote_types(dtype, torch.float32)
        mean, std = (t.to(clip.device, wide).view(-1, 1, 1, 1) for t in self)
        return (clip - mean).div_(std).to(dtype)


class PatchProjection(nn.Conv2d):
    """A convolution with kernel = stride, computed as a matrix product.

    That is faster on a CPU, and yields tokens in the order of the layers.
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(N, channels, height, width)`` to ``(N, D, rows, cols)``."""
        p, q = self.kernel_size
        patches = rearrange(
            frames, 'n c (r p) (s q) -> n r s (c p q)', p=p, q=q)
        tokens = F.linear(patches, self.weight.flatten(1), self.bias)
        return rearrange(tokens, 'n r s d -> n d r s')


class PatchStem(BaseModule):
    """The paper's stem: one convolution, kernel = stride = patch size.

    Args:
        in_channels (int): Channels of a frame.
        embed_dims (int): Width ``D``.
        patch_size (int): Side of a patch in pixels.
    """

    def __init__(self, in_channels: int, embed_dims: int,
                 patch_size: int) -> None:
        super().__init__()
        self.projection = PatchProjection(
            in_channels, embed_dims, patch_size, stride=patch_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames ``(N, *, height, width)`` to ``(N, D, rows, cols)``."""
        return self.projection(frames)


class ConvStem(BaseModule):
    """A stem for training from scratch: 3x3 convolutions of stride 2.

    Each is followed by a group norm, which is independent of other frames,
    and GELU.

    Args:
        in_channels (int): Channels of a frame.
        embed_dims (int): Width ``D``; each convolution doubles the width.
        patch_size (int): Side of a patch in pixels, a power of two.
    """

    def __init__(self, in_channels: int, embed_dims: int,
                 patch_size: int) -> None:
        super().__init__()
        depth = int(math.log2(patch_size))
        if depth < 1 or 2**depth != patch_size:
            raise ValueError("the 'conv' stem needs a patch size that is a "
                             f'power of two, got {patch_size}')
        layers, width = [], in_channels
        for halvings in range(depth - 1, -1, -1):
            next_width = max(embed_dims >> halvings, 8)
            layers += [
                nn.Conv2d(width, next_width, 3, stride=2, padding=1),
                nn.GroupNorm(math.gcd(next_width, 4), next_width),
                nn.GELU()
            ]
            width = next_width
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames ``(N, *, height, width)`` to ``(N, D, rows, cols)``."""
        # channels last is the faster layout for few channels
        frames = frames.contiguous(memory_format=torch.channels_last)
        return self.layers(frames)


def build_stem(kind: str, in_channels: int, embed_dims: int,
               patch_size: int) -> BaseModule:
    """Build the stem by its name in the config, ``'patch'`` or ``'conv'``."""
    stems = {'patch': PatchStem, 'conv': ConvStem}
    if kind not in stems:
        raise ValueError(f"stem must be 'patch' or 'conv', got {kind!r}")
    return stems[kind](in_channels, embed_dims, patch_size)


def num_stem_inputs(stem_input: str) -> int:
    """Return the number of images per frame; see :func:`stem_inputs`.

    Raises:
        ValueError: If the option is unknown.
    """
    if stem_input not in ('frame', 'difference', 'both'):
        raise ValueError("stem_input must be 'frame', 'difference' or "
                         f"'both', got {stem_input!r}")
    return 2 if stem_input == 'both' else 1


def stem_inputs(clip: Tensor, previous: Optional[Tensor],
                stem_input: str) -> Tensor:
    """Return the frames, their differences in time, or both.

    Args:
        clip (Tensor): Shape ``(B, channels, T, height, width)``.
        previous (Tensor, optional): The frame before the clip. None if there
            is none: then the first difference is zero.
        stem_input (str): ``'frame'``, ``'difference'`` or ``'both'``.

    Returns:
        Tensor: Shape ``(1 or 2, B, channels, T, height, width)``.
    """
    if stem_input == 'frame':
        return clip[None]
    before = clip[:, :, 0] if previous is None else previous
    difference = torch.diff(clip, dim=2, prepend=before[:, :, None])
    if stem_input == 'difference':
        return difference[None]
    return torch.stack([clip, difference])


def resize_position(position: Tensor, grid: Tuple[int, int]) -> Tensor:
    """Interpolate a position embedding ``(1, D, rows, cols)`` to a grid."""
    if position.shape[-2:] == grid:
        return position
    return F.interpolate(
        position, grid, mode='bicubic', align_corners=False)
