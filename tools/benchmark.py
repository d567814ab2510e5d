# Copyright (c) The mmlcr authors. All rights reserved.
"""What the operator, a clip, a frame and a training step cost.

Beside them, in the same process and in turns, scaled-dot-product attention,
MMAction2's own models, built from the configs it ships, and the floor: the
multiply-adds of the clip at the rate of a large matrix product. Read ratios of
one run; a machine's load changes all of its figures alike.
"""
import argparse
import atexit
import copy
import functools
import importlib.metadata
import json
import os
import os.path as osp
import platform
import shutil
import tempfile
import time
from statistics import median
from typing import Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmengine.utils import track_iter_progress
from torch import Tensor

import mmaction
import mmlcr  # repairs the published stack before all else
from mmaction.registry import MODELS
from mmlcr.cli.arguments import add_model_arguments, positive
from mmlcr.cli.launch import ending_with_errors, load_config
from mmlcr.cli.models import build_model_and_clip
from mmlcr.deploy import (
    Case,
    can_measure_memory,
    count_multiply_adds,
    markdown,
    measure,
    multiply_adds,
    num_parameters,
    peak_memory,
    plot_growth,
)
from mmlcr.deploy.measure import Medians, resident
from mmlcr.ops import bi_wkv
from mmlcr.streaming import StreamRecognizer, open_source

GEMM_SIZE = 2048
PARTS = ('operator', 'clip', 'step', 'frames', 'side', 'batch', 'stream',
         'memory')
GROWTH = dict(frames=(4, 8, 16, 32), side=(112, 160, 224, 320),
              batch=(1, 2, 4, 8))
LONG_CLIP, LONG_STREAM = 512, 10_000  # frames
STREAM_SIZE, STREAM_FRAMES = (320, 240), 50  # a video's width, height, length
PROCESSES = 5  # whose peak memory is measured
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


def operator_cases(heads: int, width: int) -> List[Case]:
    """Bi-WKV and attention, forward and backward."""

    def both_ways(function: Callable, *leaves: Tensor) -> Callable:

        def run() -> Tuple[Tensor, ...]:
            return torch.autograd.grad(function(*leaves).sum(), leaves)

        return run

    cases = []
    for batch, tokens in ((8, 197), (1, 49), (1, 196), (1, 784), (1, 3136)):
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
        size = tokens if batch == 1 else 0  # these show the growth
        cases += [
            Case('operator', attention,
                 both_ways(F.scaled_dot_product_attention, q, k, v), attention,
                 note, size, True),
            Case('operator', f'Bi-WKV, {batch} x {tokens}',
                 both_ways(bi_wkv, *leaves), attention, note, size, True)
        ]
    return cases


def clip_cases(model: torch.nn.Module, clip: Tensor,
               others: Dict[str, str]) -> List[Case]:
    """A clip of the config's model and of MMAction2's."""
    cases = [
        Case('clip', 'LCR', scores(model, clip), 'LCR',
             describe(model, clip))
    ]
    for name, config in others.items():
        other, inputs = build_other(config)

        def run(other: torch.nn.Module = other,
                inputs: Tensor = inputs) -> Tensor:
            return other(inputs, mode='tensor')

        cases.append(Case('clip', name, run, 'LCR', describe(other, inputs)))
    return cases


def frame_case(model: torch.nn.Module, clip: Tensor, name: str,
               base: str) -> Case:
    """One more frame of a stream that is running."""
    with torch.no_grad():
        _, state = model.backbone.forward_step(clip[:, :, 0])

    def step() -> Tensor:
        feature, _ = model.backbone.forward_step(clip[:, :, 1], state)
        return model.cls_head(feature)

    return Case('clip', name, step, base, describe(model, clip[:, :, 0]))


def other_ways(model: torch.nn.Module, clip: Tensor, base: str,
               compiled: bool) -> List[Case]:
    """Clip and frame in bfloat16, and by other backends."""

    def bfloat16(run: Callable) -> Callable:

        def autocast() -> object:
            with torch.autocast('cpu', torch.bfloat16):
                return run()

        return autocast

    cases = [frame_case(model, clip, 'LCR, one more frame', base)]
    ways = [('bf16 autocast', model, bfloat16)]
    for backend in ('eager', 'module', *(['inductor'] if compiled else [])):
        other = copy.deepcopy(model)
        other.backbone.backend = backend
        ways.append((backend, other, lambda run: run))
    for way, model, wrap in ways:
        cases.append(
            Case('clip', f'LCR, {way}', wrap(scores(model, clip)), 'LCR',
                 describe(model, clip)))
        frame = frame_case(model, clip, f'LCR, one more frame, {way}', base)
        cases.append(frame._replace(run=wrap(frame.run)))
    return cases


def growth_cases(model: torch.nn.Module, clip: Tensor,
                 parts: List[str]) -> List[Case]:
    """Clips of more frames, larger ones, and more of them."""
    B, channels, T = clip.shape[:3]
    cases = []
    for part in parts:
        for size in GROWTH[part]:
            if part == 'frames':
                shape = (B, channels, size, *clip.shape[3:])
            elif part == 'side':
                shape = (B, channels, T, size, size)
            else:
                shape = (size, *clip.shape[1:])
            inputs = torch.randn(shape)
            cases.append(
                Case(part, f'LCR, {size}', scores(model, inputs),
                     f'LCR, {GROWTH[part][0]}', describe(model, inputs), size))
    return cases


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
        Case('step', 'all tokens', lambda: train(None), 'all tokens', note,
             grad=True),
        Case('step', 'half of the tokens dropped', lambda: train(mask),
             'all tokens', note, grad=True)
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


def scores(model: torch.nn.Module, clip: Tensor) -> Callable[[], Tensor]:
    """The scores of a clip, when called."""
    return lambda: model.cls_head(model.backbone(clip))


def prepare_clip(args: argparse.Namespace, frames: int) -> Callable:
    """Inference on a clip that takes no memory of its own."""
    model, clip = prepare(args)
    clip = clip[:, :, :1].expand(-1, -1, frames, -1, -1)
    with torch.no_grad():  # loads the kernels
        scores(model, clip[:, :, :1])()

    def run() -> None:
        with torch.no_grad():
            scores(model, clip)()

    return run


def prepare_step(args: argparse.Namespace, with_cp: bool) -> Callable:
    """A training step, the gradients of the weights being there."""
    model, clip = prepare(args)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    model.train().backbone.with_cp = with_cp
    return lambda: scores(model, clip)().square().sum().backward()


def prepare(args: argparse.Namespace) -> Tuple[torch.nn.Module, Tensor]:
    """Model and clip of the arguments, in a process that may be new."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, clip = build_model_and_clip(args)
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, map_location='cpu')
    return model, clip


def measure_memory(args: argparse.Namespace) -> Dict[str, float]:
    """Peaks beyond model and input in MiB.

    Those of inference are small, and depend on how the heap happens to lie:
    the median of a few processes.
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
    """Markdown."""
    lines = [f'| {key} | {value:.2f} |' for key, value in figures.items()]
    return '\n'.join(['', f'| {name} | |', '|---|---|', *lines, ''])


def memory_table(peaks: Dict[str, float]) -> str:
    """Markdown."""
    bases = list(peaks)[::2]
    lines = ['| memory | peak, MiB | ratio | to |', '|---|---|---|---|']
    for index, (name, peak) in enumerate(peaks.items()):
        base = bases[index // 2]
        lines.append(f'| {name} | {peak:.0f} | {peak / peaks[base]:.2f} | '
                     f'{base} |')
    return '\n'.join(lines + [''])


def bfloat16_error(model: torch.nn.Module, clip: Tensor) -> float:
    """Of the scores, in norm, relative to those in float32."""
    with torch.no_grad():
        exact = scores(model, clip)()
        with torch.autocast('cpu', torch.bfloat16):
            rounded = scores(model, clip)()
    return ((rounded.float() - exact).norm() / exact.norm()).item()


def numba_version() -> str:
    """Of what compiles the fused kernels."""
    try:
        return importlib.metadata.version('numba')
    except importlib.metadata.PackageNotFoundError:
        return 'none'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Measure the operator, a clip, a frame and a training '
        "step beside attention and MMAction2's models, and how a clip grows")
    add_model_arguments(parser)
    parser.add_argument(
        '--checkpoint', help='weights; as initialised without')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=(*PARTS, 'endurance'),
        default=PARTS,
        help='of these; endurance, 10,000 frames of a stream, only when named')
    parser.add_argument(
        '--others',
        nargs='*',
        choices=list(OTHERS),
        help="MMAction2's models to time a clip of")
    parser.add_argument(
        '--compiled',
        action='store_true',
        help='time the backend inductor as well; compiling takes '
        'a minute or two')
    parser.add_argument('--threads', type=positive(int), default=2)
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument(
        '--out',
        help='folder for benchmark.json, benchmark.md and growth.png')
    args = parser.parse_args()
    if 'clip' not in args.parts and (args.compiled or args.others is not None):
        parser.error('--compiled and --others are of the part "clip"')
    if args.others is None:
        args.others = list(OTHERS)
    return args


@torch.no_grad()
def frame_multiply_adds(model: torch.nn.Module, height: int,
                        width: int) -> float:
    """Of one more frame, without the head's few."""
    frame = torch.randn(1, 4, height, width)
    _, state = model.backbone.forward_step(frame)
    return count_multiply_adds(
        lambda: model.backbone.forward_step(frame, state))


def product_case(part: str, base: str) -> Case:
    """A large matrix product, whose rate the floor is of."""
    a, b, product = torch.randn(3, GEMM_SIZE, GEMM_SIZE)
    return Case(part, 'matrix product', lambda: torch.mm(a, b, out=product),
                base, f'{GEMM_SIZE} in each dimension')


def stream_cases(args: argparse.Namespace) -> List[Case]:
    """A step of a stream in both contexts, and what comes before it.

    The frames of a video of noise go through the config's own pipelines: that
    of testing, and that of validation, which takes one crop.
    """
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    video, size = osp.join(folder, 'noise.mp4'), STREAM_SIZE
    writer = cv2.VideoWriter(
        video, cv2.VideoWriter_fourcc(*'mp4v'), 25., size)
    ground = cv2.resize(np.random.randint(0, 256, (15, 20, 3), np.uint8), size)
    for _ in range(STREAM_FRAMES):
        ground = np.roll(ground, 4, axis=1)  # so much for a codec to do
        writer.write(ground)
    writer.release()
    image = cv2.cvtColor(ground, cv2.COLOR_BGR2RGB)
    decoded = f'{STREAM_FRAMES} frames of {size[0]}x{size[1]}'
    cases = [
        Case('stream', 'decoding', lambda: list(open_source(video)),
             'decoding', decoded)
    ]
    for pipeline in ('val_pipeline', 'test_pipeline'):
        for context in StreamRecognizer.CONTEXTS:
            stream = StreamRecognizer(
                load_config(args), args.checkpoint, context=context,
                pipeline=pipeline)
            views = stream.views(image)
            for _ in range(stream.clip_len):  # as many memories as later
                stream.take_views(views)
            height, width = views.shape[-2:]
            crops = f'{len(views)} crops of {height}x{width}'
            cases.append(
                Case('stream', f'{pipeline}, {context}',
                     functools.partial(stream.take_views, views), 'decoding',
                     crops))
        cases.append(
            Case('stream', f'{pipeline}, transforms',
                 functools.partial(stream.views, image), 'decoding', crops))
    return cases


def stream_figures(model: torch.nn.Module, cases: List[Case],
                   medians: Medians) -> Dict[str, float]:
    """Steps over their multiply-adds, and the share of what comes before."""
    second = GEMM_SIZE**3 / medians['stream', 'matrix product']
    decoding = medians['stream', 'decoding'] / STREAM_FRAMES
    figures = {}
    for case in cases:
        pipeline, _, what = case.name.partition(', ')
        if case.part == 'stream' and what in StreamRecognizer.CONTEXTS:
            taken = medians['stream', case.name]
            crops, _, _, size = case.note.split()
            height, width = map(int, size.split('x'))
            floor = int(crops) * frame_multiply_adds(
                model, height, width) / second
            before = decoding + medians['stream', f'{pipeline}, transforms']
            figures[f'{case.name}: over its multiply-adds'] = taken / floor
            figures[f'{case.name}: share of all before'] = before / taken
    return figures


def measure_endurance(args: argparse.Namespace) -> Dict[str, float]:
    """Whether a stream grows or slows down, in 10,000 frames of noise."""
    figures = {}
    for context in StreamRecognizer.CONTEXTS:
        stream = StreamRecognizer(
            load_config(args), args.checkpoint, context=context,
            pipeline='val_pipeline')
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


def make_cases(args: argparse.Namespace, model: torch.nn.Module,
               clip: Tensor) -> List[Case]:
    """All that is to be timed."""
    cases: List[Case] = []
    if 'operator' in args.parts:
        heads = model.backbone.num_heads
        cases += operator_cases(heads, model.backbone.embed_dims // heads)
    if 'clip' in args.parts:
        cases += clip_cases(model, clip,
                            {name: OTHERS[name]
                             for name in args.others})
        base = CHEAPEST if CHEAPEST in args.others else 'LCR'
        cases += other_ways(model, clip, base, args.compiled)
        cases.append(product_case('clip', 'LCR'))
    if 'stream' in args.parts:
        cases += stream_cases(args)
        cases.append(product_case('stream', 'decoding'))
    if 'step' in args.parts:
        cases += step_cases(model, clip)
    return cases + growth_cases(
        model, clip, [part for part in args.parts if part in GROWTH])


@ending_with_errors()
def main() -> None:
    args = parse_args()
    if args.repeats < 1:
        raise SystemExit(f'--repeats must be positive, got {args.repeats}')
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
        count = multiply_adds(model, clip)
        floor = count / GEMM_SIZE**3 * medians['clip', 'matrix product']
        result.update(
            multiply_adds=count,
            floor_milliseconds=1e3 * floor,
            clip_over_floor=medians['clip', 'LCR'] / floor,
            bfloat16_error=bfloat16_error(model, clip))
        text += (f'\n{count / 1e9:.1f} G multiply-adds at the rate of the '
                 f'matrix product: {1e3 * floor:.1f} ms, of which the clip is '
                 f'{result["clip_over_floor"]:.2f} times. Scores in bfloat16 '
                 f'differ by {result["bfloat16_error"]:.1e}, relative.\n')
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


if __name__ == '__main__':
    main()
