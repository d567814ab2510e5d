# Copyright (c) The mmlcr authors. All rights reserved.
"""From frames to tokens: the part of LCR before its layers."""
from typing import Optional, Tuple

import torch
from einops import rearrange
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlcr.backends import Tokens
from mmlcr.layers import (
    Normalize,
    build_stem,
    num_stem_inputs,
    resize_position,
    stem_inputs,
)
from mmlcr.ops import TokenLayout


class FrameEmbedding(BaseModule):
    """Embeds frames as tokens, eq. (1), and edge maps as prompts, eq. (2).

    Args:
        embed_dims (int): Width ``D``.
        patch_size (int): Side of a patch in pixels.
        stem (str): ``'patch'`` or ``'conv'``.
        stem_input (str): ``'frame'``, ``'difference'`` or ``'both'``.
        edge_prompt (bool): Whether the edge map joins the prompt.
        position_grid (tuple[int, int], optional): Rows and columns of the
            learned position. Defaults to None: no learned position.
        init_cfg (dict, optional): MMEngine's. Defaults to None.
    """

    def __init__(self,
                 *,
                 embed_dims: int,
                 patch_size: int,
                 stem: str,
                 stem_input: str,
                 edge_prompt: bool,
                 position_grid: Optional[Tuple[int, int]] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        self.patch_size = patch_size
        self.stem_input = stem_input
        self.normalize: Optional[Normalize] = None  # set by the recognizer
        inputs = num_stem_inputs(stem_input)
        self.stem = build_stem(stem, 3 * inputs, embed_dims, patch_size)
        self.edge_stem = self.zero_conv = None
        if edge_prompt:
            self.edge_stem = build_stem(stem, inputs, embed_dims, patch_size)
            self.zero_conv = nn.Conv2d(embed_dims, embed_dims, 1)
            for parameter in self.zero_conv.parameters():
                nn.init.zeros_(parameter)
        self.cls_token = nn.Parameter(torch.zeros(embed_dims))
        self.position = None
        if position_grid is not None:
            self.position = nn.Parameter(
                torch.zeros(1, embed_dims, *position_grid))
        self.norm_e = nn.LayerNorm(embed_dims)
        # a LayerNorm before layers that add to their input without one
        self.norm_0: nn.Module = nn.Identity()

    def init_weights(self) -> None:
        """Initialise the tokens, beside what their modules do."""
        super().init_weights()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor] = None) -> Tokens:
        """Compute frame tokens, eq. (1), edge prompt, eq. (2), and its norm.

        Args:
            clip (Tensor): Normalized, ``(B, 4, T, height, width)``.
            layout (TokenLayout): Patches that become tokens.
            previous (Tensor, optional): The frame before the clip, for
                differences of pixels. Defaults to None: there is none.
        """
        T = clip.shape[2]
        inputs = rearrange(
            stem_inputs(clip, previous, self.stem_input),
            'n b c t h w -> (t b) n c h w')
        x = self.stem(inputs[:, :, :3].flatten(1, 2))
        if self.position is not None:
            x = x + resize_position(self.position, x.shape[-2:])
        e = x
        if self.edge_stem is not None and self.zero_conv is not None:
            edges = inputs[:, :, 3:].flatten(1, 2)
            e = x + self.zero_conv(self.edge_stem(edges))
        e = self._tokens(e, T, layout)
        x = self.norm_0(self._tokens(x, T, layout))
        return Tokens(x, e, self.norm_e(e))

    def normalized(self, clip: Tensor) -> Tensor:
        """Normalize a uint8 clip; others are already normalized."""
        if clip.dtype != torch.uint8:
            return clip
        assert self.normalize is not None  # by check_clip
        return self.normalize(clip, self.cls_token.dtype)

    def _tokens(self, features: Tensor, T: int,
                layout: TokenLayout) -> Tensor:
        patches = layout.drop(
            rearrange(features, '(t b) d r c -> t b (r c) d', t=T))
        cls = self.cls_token.to(patches.dtype).expand(*patches.shape[:2], 1,
                                                      -1)
        return torch.cat([patches, cls], dim=2)
