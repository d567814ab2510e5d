# Copyright (c) The mmlcr authors. All rights reserved.
"""MMAction2's data sets of videos and of folders of frames, validated."""
from functools import partial
from typing import Any, List, Optional

import numpy as np

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.transforms import RawFrameDecode
from mmaction.registry import DATASETS
from mmlcr.video import FrameCache
from .validated import ValidatedDataset

GIB = 2**30  # bytes


@DATASETS.register_module()
class ValidatedVideoDataset(ValidatedDataset, VideoDataset):
    """:class:`mmaction.datasets.VideoDataset` with validation.

    Lines are ``path label``, or ``path`` and labels with
    ``multi_class=True``. Arguments are those of ``VideoDataset``, those of
    :class:`ValidatedDataset`, and:

    Args:
        cache (str, optional): ``'ram'`` keeps all frames of a video in memory
            once it has been decoded, for small sets; see
            :class:`mmlcr.video.FrameCache`. Samples are the same. Defaults
            to None: videos are decoded each time.
        cache_limit (float): GiB that the frames may take; further videos are
            decoded each time. Defaults to 2.

    Raises:
        ValueError: If ``cache`` is not one of these, ``cache_limit`` is not
            positive, or another transform than ``VideoInit`` opens videos.
    """
    line_format = 'path label'

    def __init__(self,
                 *args: Any,
                 cache: Optional[str] = None,
                 cache_limit: float = 2.,
                 **kwargs: Any) -> None:
        if cache not in (None, 'ram'):
            raise ValueError(f"cache must be 'ram' or None, got {cache!r}")
        if not cache_limit > 0:
            raise ValueError(
                f'cache_limit must be positive, got {cache_limit}')
        self.cache, self.cache_limit = cache, cache_limit
        self.frame_cache: Optional[FrameCache] = None
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> List[dict]:
        """See :meth:`ValidatedDataset.load_data_list`."""
        clips = super().load_data_list()
        if self.cache:
            if self.trusts_headers:
                raise ValueError(f'cache={self.cache!r} needs VideoInit and '
                                 'VideoDecode in the pipeline')
            # before any worker is forked
            self.frame_cache = FrameCache(
                len(clips), max(1, int(self.cache_limit * GIB)))
        return clips

    def get_data_info(self, idx: int) -> dict:
        """Return a clip, with what opens its cached video."""
        clip = super().get_data_info(idx)
        if self.frame_cache is not None:
            clip['open_cached'] = partial(self.frame_cache.open, int(idx))
        return clip


@DATASETS.register_module()
class ValidatedRawframeDataset(ValidatedDataset, RawframeDataset):
    """:class:`mmaction.datasets.RawframeDataset` with validation.

    Lines are ``folder frames label``, or ``folder offset frames label`` with
    ``with_offset=True``. Arguments are those of ``RawframeDataset`` and of
    :class:`ValidatedDataset`.
    """
    prefix_key = 'img'
    clip_key = 'frame_dir'
    keys = dict(frames='total_frames')

    @property
    def line_format(self) -> str:  # type: ignore[override]
        """The fields of a line."""
        offset = 'offset ' if self.with_offset else ''
        return f'folder {offset}frames label'

    def _failed_frame(self, clip: dict, transform: Any) -> str:
        """Return the file of the first frame that can't be decoded."""
        if not isinstance(transform, RawFrameDecode):
            return ''
        for index in np.unique(clip['frame_inds']):
            try:
                transform({**clip, 'frame_inds': np.array([index])})
            except Exception:
                number = index + clip.get('offset', 0)
                return clip['filename_tmpl'].format(number) + ': '
        return ''
