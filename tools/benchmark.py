# Copyright (c) The mmlcr authors. All rights reserved.
"""How long the operator, a clip, a frame and a training step take.

Beside them, in the same process and in turns, scaled-dot-product attention,
MMAction2's own models, built from the configs it ships, and the floor: the
multiply-adds of the clip at the rate of a large matrix product. Read ratios of
one run; a machine's load changes all of its figures alike.
"""
import argparse
import json
import os
import os.path as osp
import platform
import time
from statistics import median
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import cv2
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.utils import ProgressBar
from torch import Tensor

import mmaction
import mmlcr  # repairs the published stack before all else
from mmaction.registry import MODELS
from mmlcr.apis import (
    add_model_arguments,
    build_model_and_clip,
    multiply_adds,
    num_parameters,
)
from mmlcr.ops import bi_wkv

GEMM_SIZE = 2048
PARTS = ('operator', 'clip', 'step')
CHEAPEST = 'TSM-MobileNetV2'  # what a frame is compared with
OTHERS = {
    CHEAPEST:
    'tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb',
    'X3D-M': 'x3d/x3d_m_16x5x1_facebook-kinetics400-rgb',
    'TSM-R50':
    'tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb',
    'SlowOnly-R50':
    'slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb',
    'UniFormer-S': 'uniformer/uniformer-small_imagenet1k-pre_16x4x1_'
    'kinetics400-rgb',
    'MViT-S':
    'mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb',
    'TimeSformer':
    'timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb',
}


class Case(NamedTuple):
    """Something to be timed; its ratio is to the case ``base`` of its part."""
    part: str
    name: str
    run: Callable[[], object]
    base: str
    note: str


def operator_cases(heads: int, width: int) -> List[Case]:
    """Bi-WKV and attention, forward and backward."""

    def both_ways(function: Callable, *leaves: Tensor) -> Callable:

        def run() -> Tuple[Tensor, ...]:
            return torch.autograd.grad(function(*leaves).sum(), leaves)

        return run

    cases = []
    for batch, tokens in ((8, 197), (1, 196), (1, 784), (1, 3136)):
        r, k, v = torch.randn(3, batch, tokens, heads, width)
        w = -torch.exp(torch.linspace(-5, 1, width)).repeat(heads, 1)
        u = torch.randn(heads, width)
        leaves = [t.requires_grad_() for t in (r, k, v, w, u)]
        q, k, v = [
            t.detach().transpose(1, 2).contiguous().requires_grad_()
            for t in leaves[:3]
        ]
        note = f'batch {batch}, {tokens} tokens, {heads} heads of {width}'
        attention = f'attention, {batch} x {tokens}'
        cases += [
            Case('operator', attention,
                 both_ways(F.scaled_dot_product_attention, q, k, v), attention,
                 note),
            Case('operator', f'Bi-WKV, {batch} x {tokens}',
                 both_ways(bi_wkv, *leaves), attention, note)
        ]
    return cases


def clip_cases(model: torch.nn.Module, clip: Tensor,
               others: Dict[str, str]) -> List[Case]:
    """A clip of the config's model and of MMAction2's."""
    cases = [
        Case('clip', 'LCR', lambda: model.cls_head(model.backbone(clip)),
             'LCR', describe(model, clip))
    ]
    for name, config in others.items():
        other, inputs = build_other(config)

        def run(other: torch.nn.Module = other,
                inputs: Tensor = inputs) -> Tensor:
            return other(inputs, mode='tensor')

        cases.append(Case('clip', name, run, 'LCR', describe(other, inputs)))
    return cases


def frame_case(model: torch.nn.Module, clip: Tensor, base: str) -> Case:
    """One more frame of a stream that is running."""
    with torch.no_grad():
        _, state = model.backbone.forward_step(clip[:, :, 0])

    def step() -> Tensor:
        feature, _ = model.backbone.forward_step(clip[:, :, 1], state)
        return model.cls_head(feature)

    return Case('clip', 'LCR, one more frame', step, base,
                describe(model, clip[:, :, 0]))


def step_cases(model: torch.nn.Module, clip: Tensor) -> List[Case]:
    """A training step, with all of the tokens and with half of them."""
    clip = clip.repeat(4, 1, 1, 1, 1)
    rows, cols = (side // model.backbone.patch_size for side in clip.shape[3:])
    mask = torch.zeros(len(clip), rows, cols, dtype=torch.bool)
    mask[:, :, ::2] = True

    def train(tube_mask: Optional[Tensor]) -> None:
        model.train()
        feature = model.backbone(clip, tube_mask)
        model.cls_head(feature).square().mean().backward()
        model.zero_grad()
        model.eval()

    note = 'batch 4, forward and backward'
    return [
        Case('step', 'all tokens', lambda: train(None), 'all tokens', note),
        Case('step', 'half of the tokens dropped', lambda: train(mask),
             'all tokens', note)
    ]


def build_other(name: str) -> Tuple[torch.nn.Module, Tensor]:
    """A model of MMAction2's and one clip as its test pipeline forms it."""
    path = osp.join(
        osp.dirname(mmaction.__file__), '.mim', 'configs', 'recognition',
        f'{name}.py')
    config = Config.fromfile(path)
    pipeline = config.get('val_pipeline') or config.test_pipeline
    steps = {step['type']: step for step in pipeline}
    sample, form = steps['SampleFrames'], steps['FormatShape']['input_format']
    side = (steps.get('CenterCrop') or steps['ThreeCrop'])['crop_size']
    model = MODELS.build(config.model).eval()
    if form == 'NCHW':  # the segments of the clip
        return model, torch.randn(1, sample['num_clips'], 3, side, side)
    return model, torch.randn(1, 1, 3, sample['clip_len'], side, side)


def describe(model: torch.nn.Module, inputs: Tensor) -> str:
    """Parameters of a model and the shape of its input."""
    return (f'{num_parameters(model) / 1e6:.1f} M, '
            f'{"x".join(map(str, inputs.shape))}')


def measure(cases: List[Case], repeats: int) -> Dict[Tuple[str, str], float]:
    """Median seconds of each case; all run once a round, in turns."""
    seconds: Dict[Tuple[str, str], List[float]] = {}
    progress = ProgressBar((repeats + 1) * len(cases))
    for turn in range(repeats + 1):
        for case in cases:
            grad = case.part in ('operator', 'step')
            with torch.set_grad_enabled(grad):
                start = time.perf_counter()
                case.run()
                taken = time.perf_counter() - start
            if turn:  # the first one warms up
                seconds.setdefault((case.part, case.name), []).append(taken)
            progress.update()
    print()
    return {key: median(values) for key, values in seconds.items()}


def table(cases: List[Case], medians: Dict[Tuple[str, str], float]) -> str:
    """Markdown, a table a part."""
    lines: List[str] = []
    for part in PARTS:
        mine = [case for case in cases if case.part == part]
        if not mine:
            continue
        lines += [
            f'| {part} | | ms | ratio | to |', '|---|---|---|---|---|'
        ]
        for case in mine:
            taken = medians[part, case.name]
            ratio = taken / medians[part, case.base]
            lines.append(f'| {case.name} | {case.note} | {1e3 * taken:.1f} | '
                         f'{ratio:.2f} | {case.base} |')
        lines.append('')
    return '\n'.join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time the operator, a clip, a frame and a training step '
        "beside attention and MMAction2's models")
    add_model_arguments(parser)
    parser.add_argument(
        '--parts', nargs='+', choices=PARTS, default=PARTS, help='of these')
    parser.add_argument(
        '--others',
        nargs='*',
        choices=list(OTHERS),
        default=list(OTHERS),
        help="MMAction2's models to time a clip of")
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument(
        '--out', help='folder for benchmark.json and benchmark.md')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.repeats < 1:
        raise SystemExit(f'--repeats must be positive, got {args.repeats}')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, clip = build_model_and_clip(args)

    cases: List[Case] = []
    if 'operator' in args.parts:
        heads = model.backbone.num_heads
        cases += operator_cases(heads, model.backbone.embed_dims // heads)
    if 'clip' in args.parts:
        a, b = torch.randn(2, GEMM_SIZE, GEMM_SIZE)
        count = multiply_adds(model, clip)
        cases += clip_cases(model, clip,
                            {name: OTHERS[name]
                             for name in args.others})
        cases += [
            frame_case(model, clip,
                       CHEAPEST if CHEAPEST in args.others else 'LCR'),
            Case('clip', 'matrix product', lambda: a @ b, 'LCR',
                 f'{GEMM_SIZE} in each dimension')
        ]
    if 'step' in args.parts:
        cases += step_cases(model, clip)

    medians = measure(cases, args.repeats)
    text = table(cases, medians)
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
            opencv=cv2.__version__,
            mmlcr=mmlcr.__version__))
    if 'clip' in args.parts:
        floor = count / GEMM_SIZE**3 * medians['clip', 'matrix product']
        result.update(
            multiply_adds=count,
            floor_milliseconds=1e3 * floor,
            clip_over_floor=medians['clip', 'LCR'] / floor)
        text += (f'\n{count / 1e9:.1f} G multiply-adds at the rate of the '
                 f'matrix product: {1e3 * floor:.1f} ms, of which the clip is '
                 f'{result["clip_over_floor"]:.2f} times.\n')
    print(text)
    print(f'{args.threads} threads, medians of {args.repeats}, torch '
          f'{torch.__version__}, {result["machine"]}')
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        with open(osp.join(args.out, 'benchmark.json'), 'w') as file:
            json.dump(result, file, indent=1)
        with open(osp.join(args.out, 'benchmark.md'), 'w') as file:
            file.write(text)


if __name__ == '__main__':
    main()
