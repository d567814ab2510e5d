# Copyright (c) The mmlcr authors. All rights reserved.
"""The rendered people as a data set, drawn while it is read."""
from functools import cached_property
from typing import Any, List, Sequence, Tuple

import numpy as np
from mmengine.dataset import BaseDataset

from mmaction.registry import DATASETS
from mmlcr.engine import SampleSeed, clip_ids
from mmlcr.people import FPS, Scene, render_clip, sample_scene


@DATASETS.register_module()
class RenderedPeopleDataset(BaseDataset):
    """Clips of people who move by random programs; nothing is on the disk.

    Each class is a :class:`mmlcr.people.Scene`. A clip is drawn from
    the seed, the epoch and the index of its sample, and from nothing else.

    Args:
        num_classes (int): Number of programs.
        length (int): Clips in an epoch; the classes take turns.
        pipeline (sequence[dict]): Transforms of the frames. There is nothing
            to sample or decode.
        clip_len (int): Frames ``T`` of a clip.
        size (tuple[int, int]): Width and height of the frames.
        intervals (sequence[float]): Distances of frames, in frames of 25 a
            second, one of which is drawn for a clip. Defaults to
            ``(2, 3, 4)``.
        program_seed (int): Seed of the programs. Other seeds give other
            programs, for example to validate on unseen motions. Defaults
            to 0.
        easy_epochs (float): Epochs over which the difficulty of the clips
            rises from 0 to 1; see :func:`mmlcr.people.sample_look`. Defaults
            to 0: it is 1 from the beginning, as with ``test_mode``.
        pairs (float): Share of the programs that are of two people. Defaults
            to 0.3.
        test_mode (bool): Whether a clip is the same in every epoch. Defaults
            to False.

    Raises:
        ValueError: If a number is not positive.
    """

    takes_sample_seeds = True  # from mmlcr.engine.SeededSampler
    multi_class = False

    def __init__(self,
                 *,
                 num_classes: int,
                 length: int,
                 pipeline: Sequence[dict],
                 clip_len: int,
                 size: Tuple[int, int],
                 intervals: Sequence[float] = (2, 3, 4),
                 program_seed: int = 0,
                 easy_epochs: float = 0,
                 pairs: float = 0.3,
                 test_mode: bool = False) -> None:
        numbers = dict(
            num_classes=num_classes, length=length, clip_len=clip_len)
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f'{name} must be positive, got {number}')
        if not intervals or min(intervals) <= 0 or min(size) <= 0:
            raise ValueError('intervals and size must be positive, got '
                             f'{intervals} and {size}')
        self.num_classes, self.length = num_classes, length
        self.clip_len, self.size = clip_len, (size[0], size[1])
        self.intervals = intervals
        self.program_seed, self.pairs = program_seed, pairs
        self.easy_epochs = 0 if test_mode else easy_epochs
        names = tuple(f'program {label}' for label in range(num_classes))
        super().__init__(
            metainfo=dict(classes=names),
            pipeline=pipeline,
            test_mode=test_mode,
            serialize_data=False)

    @cached_property
    def programs(self) -> List[Scene]:
        """The scenes and their programs, in the order of their labels."""
        return [
            sample_scene(
                np.random.default_rng([self.program_seed, label]), self.pairs)
            for label in range(self.num_classes)
        ]

    @cached_property
    def clip_ids(self) -> np.ndarray:
        """:func:`mmlcr.engine.clip_ids` of all samples, int64."""
        return clip_ids([f'rendered {index}' for index in range(self.length)])

    def load_data_list(self) -> List[dict]:
        """Return the label of each sample."""
        return [
            dict(label=index % self.num_classes)
            for index in range(self.length)
        ]

    def render(self, label: int, rng: np.random.Generator,
               difficulty: float = 1.) -> np.ndarray:
        """Render a clip of a class.

        Args:
            label (int): The class.
            rng (np.random.Generator): Source of randomness.
            difficulty (float): Of the look. Defaults to 1.

        Returns:
            np.ndarray: RGB frames, uint8, ``(T, height, width, 3)``.
        """
        interval = rng.choice(self.intervals) / FPS * rng.uniform(0.9, 1.1)
        times = interval * np.arange(self.clip_len)
        return render_clip(self.programs[label], rng, times, self.size,
                           difficulty)

    def prepare_data(self, idx: int) -> Any:
        """Render a clip and run the pipeline on it.

        Args:
            idx (int): Index of the sample, or a
                :class:`mmlcr.engine.SampleSeed`.

        Returns:
            Any: What the pipeline returns.
        """
        if self.test_mode or not isinstance(idx, SampleSeed):
            idx = SampleSeed(int(idx), 0, self.program_seed)
        idx.apply()
        rng = np.random.default_rng(np.random.randint(2**31, size=4))
        label = int(self.get_data_info(int(idx))['label'])
        easy = self.easy_epochs
        frames = self.render(label, rng,
                             min(1., idx.epoch / easy) if easy else 1.)
        shape = frames.shape[1:3]
        return self.pipeline(
            dict(
                imgs=[*frames],
                label=label,
                clip_len=self.clip_len,
                num_clips=1,
                frame_interval=1,
                original_shape=shape,
                img_shape=shape,
                modality='RGB'))
