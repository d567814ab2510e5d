# Copyright (c) The mmlcr authors. All rights reserved.
"""Write a step of a stream as ONNX, and compare it with PyTorch."""
import argparse
import os
import os.path as osp
import sys
import time
from statistics import median
from typing import Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from mmlcr.deploy import OnnxStep, export_step
from mmlcr.models.state import LCRState
from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.step import TorchStep
from .errors import exit_on
from .launch import CONFIG_ERRORS, load_config

TOLERANCE = 1e-4  # relative error of scores and state, in norm
BATCH = 2  # streams in the comparison


def compare(exact: TorchStep, exported: OnnxStep, clip: Tensor, streams: int
            ) -> Tuple[float, Dict[str, float]]:
    """Run both steps, each with its own state.

    Args:
        exact (TorchStep): Step of PyTorch.
        exported (OnnxStep): Step of the file.
        clip (Tensor): Frames of each step, ``(steps, B, 4, 1, H, W)``.
        streams (int): Number of the ``B`` streams that take part.

    Returns:
        tuple[float, dict[str, float]]: The largest relative error, in norm,
        of scores and hidden states; and the milliseconds of a step of each.
    """
    states: List[Optional[LCRState]] = [None, None]
    seconds: List[List[float]] = [[], []]
    worst = 0.
    steps: List[Union[TorchStep, OnnxStep]] = [exact, exported]
    for frames in clip:
        found = []
        for index, run in enumerate(steps):
            start = time.perf_counter()
            scores, state = run(frames[:streams], states[index])
            seconds[index].append(time.perf_counter() - start)
            states[index] = state
            found.append((scores, state.layers.h))
        for a, b in zip(*found):
            worst = max(worst, ((a - b).norm() / a.norm()).item())
    times = {
        name: 1e3 * median(taken)
        for name, taken in zip(('PyTorch', 'onnxruntime'), seconds)
    }
    return worst, times


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> int:
    """Run the command."""
    recognizer = StreamRecognizer(
        load_config(args), args.checkpoint, pipeline=args.pipeline)
    exact = recognizer.run_step
    assert isinstance(exact, TorchStep)

    def draw() -> Tensor:
        """Return the first view of a frame of noise."""
        shape = *args.frame_size, 3
        return recognizer.views(np.random.randint(0, 256, shape, np.uint8))[0]

    height, width = draw().shape[-2:]
    os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
    export_step(
        exact.model,
        args.out,
        height,
        width,
        dict(
            model=recognizer.model_id,
            classes=recognizer.classes,
            clip_len=recognizer.clip_len,
            fps=recognizer.fps),
        int8=args.int8)
    exported = OnnxStep(args.out, torch.get_num_threads())
    clip = torch.stack([
        torch.stack([draw() for _ in range(BATCH)]) for _ in range(args.steps)
    ])
    print(f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB, frames of '
          f'{height}x{width}')
    agrees = True
    for streams in (1, BATCH):
        error, times = compare(exact, exported, clip, streams)
        agrees = agrees and error < TOLERANCE
        print(f'{streams} stream(s), {args.steps} steps: they differ by '
              f'{error:.1e}, ' +
              ', '.join(f'{name} {taken:.1f} ms a step'
                        for name, taken in times.items()))
    if not agrees and not args.int8:
        print(f'error: they differ by more than {TOLERANCE}', file=sys.stderr)
        return 1
    return 0
