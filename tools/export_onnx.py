# Copyright (c) The mmlcr authors. All rights reserved.
"""Write a step of a stream as ONNX, and run it against PyTorch."""
import argparse
import os
import os.path as osp
import sys
import time
from statistics import median
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import add_config_arguments, positive
from mmlcr.cli.launch import ending_with_errors, load_config
from mmlcr.deploy import OnnxStep, export_step
from mmlcr.models.state import LCRState
from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.step import TorchStep

TOLERANCE = 1e-4  # of scores and state, relative, in norm
BATCH = 2  # streams that are compared


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a step of a stream as ONNX: frames and state go '
        'in, scores and state come out, of any number of streams. It is '
        'checked, and run against PyTorch, state by state.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write, .onnx')
    parser.add_argument(
        '--int8',
        action='store_true',
        help='weights of eight bits: smaller, and no longer the same scores')
    parser.add_argument(
        '--frame-size',
        type=positive(int),
        nargs=2,
        default=(240, 320),
        metavar=('HEIGHT', 'WIDTH'),
        help='of the source, where the pipeline keeps its ratio; default: '
        '240 320')
    parser.add_argument(
        '--pipeline',
        default='test_pipeline',
        help='whose spatial transforms are taken; default: %(default)s')
    parser.add_argument(
        '--steps',
        type=positive(int),
        default=64,
        help='to compare; default: 64')
    add_config_arguments(parser)
    args = parser.parse_args()
    if osp.splitext(args.out)[1] != '.onnx':
        parser.error(f'the file must be named .onnx, got {args.out}')
    return args


def compare(exact: TorchStep, exported: OnnxStep, clip: Tensor, streams: int
            ) -> Tuple[float, Dict[str, float]]:
    """Run both, each with its own state.

    Args:
        exact (TorchStep): PyTorch's.
        exported (OnnxStep): The file's.
        clip (Tensor): Frames of each step, ``(steps, B, 4, 1, H, W)``.
        streams (int): How many of the ``B``.

    Returns:
        tuple[float, dict]: The largest error of scores and hidden states,
        relative, in norm; and milliseconds a step of each.
    """
    states: List[Optional[LCRState]] = [None, None]
    seconds: List[List[float]] = [[], []]
    worst = 0.
    for frames in clip:
        found = []
        for index, run in enumerate((exact, exported)):
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


@ending_with_errors()
def main() -> int:
    args = parse_args()
    recognizer = StreamRecognizer(
        load_config(args), args.checkpoint, pipeline=args.pipeline)
    exact = recognizer.run_step
    assert isinstance(exact, TorchStep)

    def draw() -> Tensor:
        """The first view of a frame of noise."""
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


if __name__ == '__main__':
    sys.exit(main())
