# Copyright (c) The mmlcr authors. All rights reserved.
"""Where the tokens of a frame sit: patch grid, dropped patches, CLS last."""
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


class TokenLayout(NamedTuple):
    """The patch grid of a frame and the patches that are left of it."""
    rows: int
    cols: int
    kept: Optional[Tensor] = None  # (B, P) patch indices, ascending; None: all

    @property
    def num_patches(self) -> int:
        """Patches that are left."""
        if self.kept is None:
            return self.rows * self.cols
        return self.kept.shape[1]

    def position(self, device: torch.device) -> Tensor:
        """Row and column of every patch token, shape ``(B or 1, P, 2)``."""
        kept = self.kept
        if kept is None:
            kept = torch.arange(self.rows * self.cols, device=device)[None]
        return torch.stack([kept // self.cols, kept % self.cols], dim=-1)

    def drop(self, patches: Tensor) -> Tensor:
        """Leave out the dropped patches.

        Args:
            patches (Tensor): Shape ``(..., B or 1, rows * cols, D)``.

        Returns:
            Tensor: Shape ``(..., B, P, D)``.
        """
        if self.kept is None:
            return patches
        index = self.kept[..., None].expand(*patches.shape[:-3], -1, -1,
                                            patches.shape[-1])
        patches = patches.expand(*patches.shape[:-3], len(self.kept), -1, -1)
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
    kept = keep.nonzero()[:, 1].view(len(keep), -1)
    return TokenLayout(rows, cols, kept)


class TokenShift:
    """Q-shift of Vision-RWKV, part of eq. (3), for one layout.

    Of every head's channels, the first quarter comes from the left
    neighbour, then right, upper and lower. Outside the frame, and where the
    neighbour was dropped, it is zero. The CLS token is its own neighbour.

    Args:
        layout (TokenLayout): Where the tokens sit.
        num_heads (int): Heads ``H``.
    """

    def __init__(self, layout: TokenLayout, num_heads: int) -> None:
        self.layout = layout
        self.num_heads = num_heads
        self.neighbours = None
        if layout.kept is not None:
            self.neighbours = _neighbour_rows(layout.rows, layout.cols,
                                              layout.kept, num_heads)

    def __call__(self, x: Tensor) -> Tensor:
        """Shift tokens of shape ``(..., B, L, D)``, CLS last."""
        if self.neighbours is None:
            return self._shift_grid(x)
        return self._shift_kept(x, self.neighbours)

    def _shift_grid(self, x: Tensor) -> Tensor:
        rows, cols, H = self.layout.rows, self.layout.cols, self.num_heads
        patches, cls = x[..., :-1, :], x[..., -1:, :]
        grid = patches.unflatten(-1, (H, 4, -1)).unflatten(-4, (rows, cols))
        left, right, upper, lower = grid.unbind(-2)  # (..., rows, cols, H, Q)
        shifted = torch.stack([
            F.pad(left[..., :, :-1, :, :], (0, 0, 0, 0, 1, 0)),
            F.pad(right[..., :, 1:, :, :], (0, 0, 0, 0, 0, 1)),
            F.pad(upper[..., :-1, :, :, :], (0, 0, 0, 0, 0, 0, 1, 0)),
            F.pad(lower[..., 1:, :, :, :], (0, 0, 0, 0, 0, 0, 0, 1)),
        ], -2)
        shifted = rearrange(shifted, '... r c h q k -> ... (r c) (h q k)')
        return torch.cat([shifted, cls], dim=-2)

    def _shift_kept(self, x: Tensor, neighbours: Tensor) -> Tensor:
        x_zero = F.pad(x, (0, 0, 0, 1))  # a token of zeros, after CLS
        pieces = x_zero.view(-1, x.shape[-1] // (4 * self.num_heads))
        frames = x.shape[:-3].numel()
        step = len(pieces) // frames
        first = torch.arange(frames, device=x.device)[:, None] * step
        index = (first + neighbours).flatten()
        return pieces.index_select(0, index).view_as(x)


def _neighbour_rows(rows: int, cols: int, kept: Tensor,
                    num_heads: int) -> Tensor:
    """Index of each quarter's source among rows of ``K / 4`` channels.

    The rows are those of ``(B, L + 1, H, 4, K / 4)``, where token ``L`` is
    zero; the index is flat, of length ``B * L * H * 4``.
    """
    B, P = kept.shape
    cls, zero = P, P + 1
    # token at each patch of a grid with a border, zero where there is none
    token = torch.full((B, (rows + 2) * (cols + 2)), zero, device=kept.device)
    here = (kept // cols + 1) * (cols + 2) + kept % cols + 1
    token.scatter_(1, here, torch.arange(P, device=kept.device).expand(B, P))
    steps = (-1, 1, -(cols + 2), cols + 2)  # left, right, upper, lower
    source = torch.stack([token.gather(1, here + s) for s in steps], -1)
    source = F.pad(source, (0, 0, 0, 1), value=cls)  # (B, L, 4)
    source = source + torch.arange(
        B, device=kept.device)[:, None, None] * (P + 2)
    head = torch.arange(num_heads, device=kept.device)[:, None]
    quarter = torch.arange(4, device=kept.device)
    return ((source[:, :, None] * num_heads + head) * 4 + quarter).flatten()
