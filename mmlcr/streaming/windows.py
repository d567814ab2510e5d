# Copyright (c) The mmlcr authors. All rights reserved.
"""The temporal context of a stream: one window, or two overlapping ones."""
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor

from mmlcr.deploy.onnx_step import OnnxStep
from mmlcr.layers import LayerState
from mmlcr.models.state import LCRState
from .step import TorchStep

CONTEXTS = 'windowed', 'free'


class Windows:
    """Steps the windows of a stream, and counts the frames of each.

    Args:
        run_step (TorchStep | OnnxStep): The model.
        clip_len (int): Length of a window in frames.
        context (str): ``'free'`` for one window without an end, or
            ``'windowed'`` for two windows of ``clip_len`` frames that start
            ``clip_len // 2`` frames apart.
    """

    def __init__(self, run_step: Union[TorchStep, OnnxStep], clip_len: int,
                 context: str) -> None:
        if context not in CONTEXTS:
            raise ValueError(f'context must be one of {CONTEXTS}, got '
                             f'{context!r}')
        self.run_step, self.clip_len = run_step, clip_len
        self.context = context
        self.state: Optional[LCRState] = None  # of all windows
        self.ages: List[int] = []  # frames of each window, the oldest first
        # unused buffers by number of windows
        self._free: Dict[int, List[LayerState]] = {}

    @property
    def full_age(self) -> int:
        """Number of frames from which a window's scores count as full."""
        if self.context == 'windowed':
            return (self.clip_len + 1) // 2
        return self.clip_len

    def step(self, views: Tensor) -> Tuple[Tensor, int]:
        """Process the next frame.

        Args:
            views (Tensor): Views of all streams, ``(B, 4, 1, height,
                width)``.

        Returns:
            tuple[Tensor, int]: Scores of the oldest window, ``(B, classes)``,
            and its number of frames.
        """
        state, ages = self.state, self.ages
        unneeded: List[LCRState] = []
        begins = not ages
        if self.context == 'windowed':
            if state is not None and ages[0] >= self.clip_len:
                unneeded.append(state)
                ages = ages[1:]
                state = state.drop_oldest(self._reuse(
                    len(ages))) if ages else None
            begins = not ages or (len(ages) == 1
                                  and ages[0] >= self.clip_len // 2)
        if state is not None:
            scores, state = self.run_step(views, state, state.layers)
        if begins:
            first_scores, first = self.run_step(views, None, self._reuse(1))
            if state is None:
                scores, state = first_scores, first
            else:
                unneeded += [state, first]
                state = state.join(first, self._reuse(state.windows + 1))
        ages = [age + 1 for age in [*ages, *[0] * begins]]
        self.state, self.ages = state, ages
        for each in unneeded:
            self._free.setdefault(each.windows, []).append(each.layers)
        return scores[:len(views)], ages[0]

    def _reuse(self, windows: int) -> Optional[LayerState]:
        """Return the buffers of an earlier state of ``windows`` windows.

        Allocating new ones for every frame would fragment the memory.
        """
        free = self._free.get(windows)
        return free.pop() if free else None

    def tensors(self) -> Optional[Dict[str, Any]]:
        """Return a copy of the state on the CPU."""
        state = _copied(self.state, torch.device('cpu'))
        return state and dict(
            layers=state.layers._asdict(),
            prompt=state.prompt,
            frame=state.frame)

    def load(self, tensors: Optional[Dict[str, Any]], ages: List[int],
             device: torch.device) -> None:
        """Restore the state that :meth:`tensors` returned.

        Raises:
            AttributeError, KeyError, TypeError: If ``tensors`` is no such
                state; these windows are unchanged then.
        """
        state = None
        if tensors is not None:
            layers = LayerState(**tensors['layers'])
            state = LCRState(layers, tensors['prompt'], tensors['frame'],
                             len(ages))
        self.state, self.ages = _copied(state, device), ages
        self._free = {}


def _copied(state: Optional[LCRState],
            device: torch.device) -> Optional[LCRState]:
    """Copy a state, since steps write into the state they are given."""

    def copied(tensor: Any) -> Any:
        return None if tensor is None else tensor.to(device, copy=True)

    return state and LCRState(
        LayerState._make(map(copied, state.layers)), copied(state.prompt),
        copied(state.frame), state.windows)
