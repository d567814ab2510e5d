# Copyright (c) The mmlcr authors. All rights reserved.
"""Time the operator, a clip, a frame and a training step.

In the same process and in turns, scaled-dot-product attention, MMAction2's own
models and the floor are timed: the floor is the time that the multiply-adds of
the clip take at the rate of a large matrix product. Compare ratios within one
run, as the load of a machine changes all of its figures alike.
"""
import argparse
import importlib.metadata
import json
import os
import os.path as osp
import platform
import time
from statistics import median
from typing import Any, Callable, Dict, List, Tuple

import cv2
import numpy as np
import torch
from mmengine.runner import load_checkpoint
from mmengine.utils import track_iter_progress
from torch import Tensor

import mmlcr
from mmlcr.backends.numba import compile_kernels
from mmlcr.deploy import (
    Case,
    can_measure_memory,
    count_multiply_adds,
    markdown,
    measure,
    multiply_adds,
    peak_memory,
    plot_growth,
)
from mmlcr.deploy.measure import Medians, resident
from mmlcr.streaming import StreamRecognizer
from .benchmark_cases import (
    GEMM_SIZE,
    ONE_MORE,
    STREAM_FRAMES,
    STREAM_SIZE,
    make_cases,
    scores,
)
from .errors import exit_on
from .launch import CONFIG_ERRORS, load_config
from .models import build_model_and_clip

LONG_CLIP, LONG_STREAM = 512, 10_000  # frames
PROCESSES = 5  # whose median peak memory counts


def prepare_clip(args: argparse.Namespace, frames: int) -> Callable:
    """Return inference on a clip that occupies no memory of its own."""
    model, clip = prepare(args)
    clip = clip[:, :, :1].expand(-1, -1, frames, -1, -1)
    with torch.no_grad():  # loads the kernels
        scores(model, clip[:, :, :1])()

    def run() -> None:
        with torch.no_grad():
            scores(model, clip)()

    return run


def prepare_step(args: argparse.Namespace, with_cp: bool) -> Callable:
    """Return a training step, with the gradients allocated before."""
    model, clip = prepare(args)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    model.train().backbone.with_cp = with_cp
    return lambda: scores(model, clip)().square().sum().backward()


def prepare(args: argparse.Namespace) -> Tuple[Any, Tensor]:
    """Build model and clip of the arguments, possibly in a new process."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    compile_kernels()
    model, clip = build_model_and_clip(args)
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, map_location='cpu')
    return model, clip


def measure_memory(args: argparse.Namespace) -> Dict[str, float]:
    """Measure peak memory beyond model and input, in MiB.

    The peaks of inference are small and depend on the layout of the heap, so
    each is the median over a few processes.
    """

    def inference(frames: int) -> float:
        return median(
            peak_memory(prepare_clip, args, frames) for _ in range(PROCESSES))

    frames = args.shape[0]
    return {
        f'inference, {frames} frames': inference(frames),
        f'inference, {LONG_CLIP} frames': inference(LONG_CLIP),
        'training step': peak_memory(prepare_step, args, False),
        'training step, checkpointed': peak_memory(prepare_step, args, True),
    }


def figures_table(name: str, figures: Dict[str, float]) -> str:
    """Format figures as a Markdown table."""
    lines = [f'| {key} | {value:.2f} |' for key, value in figures.items()]
    return '\n'.join(['', f'| {name} | |', '|---|---|', *lines, ''])


def memory_table(peaks: Dict[str, float]) -> str:
    """Format peaks as a Markdown table, with ratios."""
    bases = list(peaks)[::2]
    lines = ['| memory | peak, MiB | ratio | to |', '|---|---|---|---|']
    for index, (name, peak) in enumerate(peaks.items()):
        base = bases[index // 2]
        lines.append(f'| {name} | {peak:.0f} | {peak / peaks[base]:.2f} | '
                     f'{base} |')
    return '\n'.join(lines + [''])


def bfloat16_error(model: Any, clip: Tensor) -> float:
    """Return the relative error, in norm, of scores in bfloat16."""
    with torch.no_grad():
        exact = scores(model, clip)()
        with torch.autocast('cpu', torch.bfloat16):
            rounded = scores(model, clip)()
    return ((rounded.float() - exact).norm() / exact.norm()).item()


def numba_version() -> str:
    """Return the version of Numba, which compiles the CPU kernels."""
    try:
        return importlib.metadata.version('numba')
    except importlib.metadata.PackageNotFoundError:
        return 'none'


@torch.no_grad()
def frame_multiply_adds(model: Any, height: int,
                        width: int) -> float:
    """Count the multiply-adds of one more frame, without the head."""
    frame = torch.randn(1, 4, height, width)
    _, state = model.backbone.forward_step(frame)
    return count_multiply_adds(
        lambda: model.backbone.forward_step(frame, state))


def stream_figures(model: Any, cases: List[Case],
                   medians: Medians) -> Dict[str, float]:
    """Return each step over its floor, and its input over the step."""
    second = GEMM_SIZE**3 / medians['stream', 'matrix product']
    decoding = medians['stream', 'decoding'] / STREAM_FRAMES
    figures = {}
    for case in cases:
        view, _, what = case.name.partition(', ')
        if case.part == 'stream' and what in StreamRecognizer.CONTEXTS:
            taken = medians['stream', case.name]
            crops, _, _, size = case.note.split()
            height, width = map(int, size.split('x'))
            floor = int(crops) * frame_multiply_adds(
                model, height, width) / second
            before = decoding + medians['stream', f'{view}, transforms']
            figures[f'{case.name}: over its multiply-adds'] = taken / floor
            figures[f'{case.name}: decoding and transforms over it'] = (
                before / taken)
    return figures


def measure_endurance(args: argparse.Namespace) -> Dict[str, float]:
    """Measure whether a stream grows or slows down in 10,000 frames."""
    figures = {}
    for context in StreamRecognizer.CONTEXTS:
        stream = StreamRecognizer(
            load_config(args), args.checkpoint, context=context)
        image = np.random.randint(0, 256, (*STREAM_SIZE[::-1], 3), np.uint8)
        seconds = []
        for number in track_iter_progress(list(range(LONG_STREAM))):
            start = time.perf_counter()
            stream.step(np.roll(image, number, 1))
            seconds.append(time.perf_counter() - start)
            if number == 99:
                before = resident('VmRSS')
        figures[f'{context}: MiB more than after 100 frames'] = (
            resident('VmRSS') - before)
        figures[f'{context}: last 1,000 frames over the first'] = (
            sum(seconds[-1000:]) / sum(seconds[:1000]))
    return figures


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    model, clip = prepare(args)
    cases = make_cases(args, model, clip)
    medians = measure(cases, args.repeats)
    text = markdown(cases, medians)
    result = dict(
        milliseconds={
            f'{part}: {name}': 1e3 * value
            for (part, name), value in medians.items()
        },
        threads=args.threads,
        repeats=args.repeats,
        machine=f'{platform.processor() or platform.machine()}, '
        f'{os.cpu_count()} CPUs',
        versions=dict(
            python=platform.python_version(),
            torch=torch.__version__,
            numba=numba_version(),
            opencv=cv2.__version__,
            mmlcr=mmlcr.__version__))
    if 'memory' in args.parts and can_measure_memory():
        result['peak_mebibytes'] = measure_memory(args)
        text += f'\n{memory_table(result["peak_mebibytes"])}'
    if 'clip' in args.parts:
        count = multiply_adds(model, clip[:, None])
        product = medians['clip', 'matrix product'] / GEMM_SIZE**3
        floor = count * product
        frame_floor = frame_multiply_adds(model, *clip.shape[-2:]) * product
        result.update(
            multiply_adds=count,
            floor_milliseconds=1e3 * floor,
            clip_over_floor=medians['clip', 'LCR'] / floor,
            frame_over_floor=(medians['clip', f'LCR, {ONE_MORE}'] /
                              frame_floor),
            bfloat16_error=bfloat16_error(model, clip))
        text += (f'\n{count / 1e9:.1f} G multiply-adds at the rate of the '
                 f'matrix product: {1e3 * floor:.1f} ms, of which the clip is '
                 f'{result["clip_over_floor"]:.2f} times. One more frame is '
                 f'{result["frame_over_floor"]:.2f} times its own. Scores in '
                 f'bfloat16 differ by {result["bfloat16_error"]:.1e}, '
                 'relative.\n')
    if 'endurance' in args.parts:
        result['endurance'] = measure_endurance(args)
        text += figures_table('endurance', result['endurance'])
    if 'stream' in args.parts:
        result['stream'] = stream_figures(model, cases, medians)
        text += figures_table('stream', result['stream'])
    print(text)
    print(f'{args.threads} threads, medians of {args.repeats}, torch '
          f'{torch.__version__}, Numba {numba_version()}, {result["machine"]}')
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        with open(osp.join(args.out, 'benchmark.json'), 'w') as file:
            json.dump(result, file, indent=1)
        with open(osp.join(args.out, 'benchmark.md'), 'w') as file:
            file.write(text)
        plot_growth(cases, medians, osp.join(args.out, 'growth.png'))
