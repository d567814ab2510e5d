# Copyright (c) The mmlcr authors. All rights reserved.
"""Tube masking: the same patches are dropped in every frame of a clip."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TubeMask(BaseTransform):
    """Choose at random the patches that training drops from every frame.

    It always drops ``round(ratio * rows * cols)`` of ``rows * cols`` patches.
    Place it after the frames have their final size. The ``algorithm_keys`` of
    ``PackActionInputs`` must contain ``tube_mask``.

    Required Keys:

    - imgs: frames, each ``(height, width, channels)``

    Added Keys:

    - tube_mask: bool tensor ``(rows, cols)``, True where dropped

    Args:
        ratio (float): Ratio of dropped patches, in ``[0, 1)``.
        patch_size (int): The backbone's patch size in pixels.

    Raises:
        ValueError: If the ratio is out of range or leaves no patch, or the
            patch size does not divide the frames.
    """

    def __init__(self, ratio: float, patch_size: int) -> None:
        if not 0 <= ratio < 1:
            raise ValueError(f'the mask ratio must be in [0, 1), got {ratio}')
        if patch_size < 1:
            raise ValueError(f'patch_size must be positive, got {patch_size}')
        self.ratio = ratio
        self.patch_size = patch_size

    def transform(self, results: dict) -> dict:
        """Add a random mask.

        Args:
            results (dict): Results with ``imgs``.

        Returns:
            dict: The same results with ``tube_mask``.
        """
        height, width = results['imgs'][0].shape[:2]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f'the patch size {self.patch_size} does not '
                             f'divide frames of {height}x{width}')
        rows, cols = height // self.patch_size, width // self.patch_size
        dropped = round(self.ratio * rows * cols)
        if dropped == rows * cols:
            raise ValueError(f'a mask ratio of {self.ratio} leaves none of '
                             f'{rows}x{cols} patches')
        mask = np.zeros(rows * cols, dtype=bool)
        mask[self._permutation(rows * cols)[:dropped]] = True
        results['tube_mask'] = torch.from_numpy(mask.reshape(rows, cols))
        return results

    @cache_randomness
    def _permutation(self, num_patches: int) -> np.ndarray:
        """Draw a random order of the patches, by NumPy's generator."""
        return np.random.permutation(num_patches)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(ratio={self.ratio}, '
                f'patch_size={self.patch_size})')
