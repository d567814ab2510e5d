# Copyright (c) The mmlcr authors. All rights reserved.
"""The patch grid of a frame and its dropped patches; CLS is the last token."""
from typing import NamedTuple, Optional

import torch
from torch import Tensor


class TokenLayout(NamedTuple):
    """The patch grid of a frame, and its patches that are tokens."""
    rows: int
    cols: int
    keep_ids: Optional[Tensor] = None  # (B, P), ascending; None keeps all

    @property
    def num_patches(self) -> int:
        """Number of patches ``P`` that are not dropped."""
        if self.keep_ids is None:
            return self.rows * self.cols
        return self.keep_ids.shape[1]

    @property
    def num_tokens(self) -> int:
        """Number of tokens ``L`` of a frame: its patches and CLS."""
        return self.num_patches + 1

    def patch_ids(self, device: torch.device) -> Tensor:
        """Index of every patch token in the grid, shape ``(B or 1, P)``."""
        if self.keep_ids is None:
            return torch.arange(self.rows * self.cols, device=device)[None]
        return self.keep_ids

    def position(self, device: torch.device) -> Tensor:
        """Row and column of every patch token, shape ``(B or 1, P, 2)``."""
        patch_ids = self.patch_ids(device)
        return torch.stack(
            [patch_ids // self.cols, patch_ids % self.cols], dim=-1)

    def drop(self, patches: Tensor) -> Tensor:
        """Remove the dropped patches.

        Args:
            patches (Tensor): Shape ``(..., B or 1, rows * cols, D)``.

        Returns:
            Tensor: Shape ``(..., B, P, D)``.
        """
        if self.keep_ids is None:
            return patches
        index = self.keep_ids[..., None].expand(*patches.shape[:-3], -1, -1,
                                            patches.shape[-1])
        patches = patches.expand(*patches.shape[:-3], len(self.keep_ids), -1,
                                 -1)
        return patches.gather(-2, index)


def layout_from_mask(rows: int,
                     cols: int,
                     tube_mask: Optional[Tensor] = None) -> TokenLayout:
    """Turn a tube mask into a layout.

    Args:
        rows (int): Rows of the patch grid.
        cols (int): Columns of the patch grid.
        tube_mask (Tensor, optional): Bool, shape ``(B, rows, cols)``, True
            where a patch is dropped, the same number in every sample.

    Returns:
        TokenLayout: The layout.

    Raises:
        ValueError: If the mask has another shape or dtype, drops another
            number of patches in each sample, or drops all.
    """
    if tube_mask is None:
        return TokenLayout(rows, cols)
    if tube_mask.dtype != torch.bool or tube_mask.shape[1:] != (rows, cols):
        raise ValueError(
            f'tube_mask must be bool of shape (B, {rows}, {cols}), got '
            f'{tube_mask.dtype} of shape {tuple(tube_mask.shape)}')
    keep = ~tube_mask.flatten(1)
    counts = keep.sum(1)
    if (counts != counts[0]).any() or counts[0] == 0:
        raise ValueError('tube_mask must keep the same number of patches in '
                         f'every sample, and at least one, got '
                         f'{counts.tolist()}')
    keep_ids = keep.nonzero()[:, 1].view(len(keep), -1)
    return TokenLayout(rows, cols, keep_ids)
