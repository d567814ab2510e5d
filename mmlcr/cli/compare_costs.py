# Copyright (c) The mmlcr authors. All rights reserved.
"""Size, work and time of the models of a comparison."""
import functools
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmaction.registry import DATASETS, MODELS
from mmlcr.backends.numba import compile_kernels
from mmlcr.deploy import (
    Case,
    measure,
    multiply_adds,
    num_parameters,
    recognizer_scores,
)
from mmlcr.models import LCR
from mmlcr.streaming import CONTEXTS, TorchStep
from mmlcr.streaming.windows import Windows
from mmlcr.transforms import EdgeMap
from .models import recognizer_inputs

REPEATS = 9  # rounds whose median counts
EDGES = 'edge maps'


class Cost(NamedTuple):
    """What a model costs for a clip of batch one."""
    parameters: int
    multiply_adds: float
    clip: float  # seconds
    frame: float  # seconds for each new frame of a stream


def first_clip(config: Config) -> Tensor:
    """The first clip of a test, RGB and edges: ``(1, 4, T, height, width)``.

    Args:
        config (Config): Config of LCR.
    """
    init_default_scope(config.get('default_scope', 'mmaction'))
    return DATASETS.build(config.test_dataloader.dataset)[0]['inputs'][:1]


def measure_costs(configs: Dict[str, Config], clip: Tensor,
                  threads: int) -> Tuple[Dict[str, Cost], float]:
    """Measure all models in turns, so that the machine is the same for all.

    A clip is timed from bytes to scores. A stream steps both windows of LCR.
    A model without a memory takes a whole clip for each new frame.

    Args:
        configs (dict[str, Config]): Config of each model by its name.
        clip (Tensor): The result of :func:`first_clip`.
        threads (int): Number of threads.

    Returns:
        tuple[dict[str, Cost], float]: Costs by name, and the seconds that the
        edge maps of a clip take before LCR.
    """
    torch.set_num_threads(threads)
    compile_kernels()
    counts, cases = {}, [edge_case(clip)]
    for name, config in configs.items():
        model = MODELS.build(config.model).eval()
        inputs = recognizer_inputs(model, clip)
        counts[name] = num_parameters(model), multiply_adds(
            model, preprocess(model, inputs))
        cases += time_cases(name, model, inputs)
    seconds = measure(cases, REPEATS)
    costs = {
        name: Cost(*count, seconds['clip', name],
                   seconds.get(('frame', name), seconds['clip', name]))
        for name, count in counts.items()
    }
    return costs, seconds['clip', EDGES]


def preprocess(model: Any, inputs: Tensor) -> Tensor:
    """Apply the data preprocessor of a model, as in a test."""
    data = dict(inputs=[*inputs], data_samples=None)
    return model.data_preprocessor(data, training=False)['inputs']


def time_cases(name: str, model: Any, inputs: Tensor) -> List[Case]:
    """Build the cases of a clip and, for LCR, of one more frame."""

    def run() -> Tensor:
        return recognizer_scores(model, preprocess(model, inputs))

    cases = [Case('clip', name, run, name, '')]
    if isinstance(model.backbone, LCR):
        frames = inputs[0].split(1, dim=2)
        windows = Windows(TorchStep(model), len(frames), CONTEXTS[0])
        for frame in frames:  # starts both windows
            windows.step(frame)
        step = functools.partial(windows.step, frames[-1])
        cases.append(Case('frame', name, step, name, ''))
    return cases


def edge_case(clip: Tensor) -> Case:
    """Build the case of the edge maps of a clip."""
    frames = clip[0, :3].permute(1, 2, 3, 0).numpy()
    images = [np.ascontiguousarray(frame) for frame in frames]
    transform = EdgeMap()
    return Case('clip', EDGES, lambda: transform(dict(imgs=images)), EDGES, '')
