# Copyright (c) The mmlcr authors. All rights reserved.
"""What the benchmark times, one case each."""
import argparse
import atexit
import copy
import functools
import os.path as osp
import shutil
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

import mmaction
from mmaction.registry import MODELS
from mmlcr.deploy import Case, num_parameters
from mmlcr.engine import cpu_has_bfloat16
from mmlcr.ops import bi_wkv
from mmlcr.streaming import CROPS, StreamRecognizer, open_source
from mmlcr_cli.commands.benchmark import OTHERS
from .launch import load_config
from .online_tsm import OnlineTSM

GEMM_SIZE = 2048
GROWTH = dict(frames=(4, 8, 16, 32), side=(112, 160, 224, 320),
              batch=(1, 2, 4, 8))
STREAM_SIZE, STREAM_FRAMES = (320, 240), 50  # a video's width, height, length
ONE_MORE = 'one more frame'
CHEAPEST = f'{next(iter(OTHERS))}, {ONE_MORE}'  # with which LCR's is compared


def operator_cases(heads: int, width: int) -> List[Case]:
    """Build cases of Bi-WKV and attention, forward and backward."""

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


def clip_cases(model: Any, clip: Tensor,
               others: Dict[str, str]) -> List[Case]:
    """Build cases of a clip, of the config's model and of MMAction2's."""
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
        if name.startswith('TSM'):
            cases.append(
                Case('clip', f'{name}, {ONE_MORE}',
                     functools.partial(OnlineTSM(other).eval(), inputs[:, 0]),
                     'LCR', describe(other, inputs[:, 0])))
    return cases


def frame_case(model: Any, clip: Tensor, name: str,
               base: str) -> Case:
    """Build the case of one more frame of a running stream."""
    with torch.no_grad():
        _, state = model.backbone.forward_step(clip[:, :, 0])

    def step() -> Tensor:
        feature, _ = model.backbone.forward_step(clip[:, :, 1], state)
        return model.cls_head(feature)

    return Case('clip', name, step, base, describe(model, clip[:, :, 0]))


def other_ways(model: Any, clip: Tensor, base: str,
               compiled: bool) -> List[Case]:
    """Build cases of clip and frame in bfloat16 and with other backends."""

    def bfloat16(run: Callable) -> Callable:

        def autocast() -> object:
            with torch.autocast('cpu', torch.bfloat16):
                return run()

        return autocast

    cases = [frame_case(model, clip, f'LCR, {ONE_MORE}', base)]
    ways = [('bf16 autocast', model, bfloat16)] * cpu_has_bfloat16()
    for backend in ('eager', 'module', *(['inductor'] if compiled else [])):
        other = copy.deepcopy(model)
        other.backbone.backend = backend
        ways.append((backend, other, lambda run: run))
    for way, model, wrap in ways:
        cases.append(
            Case('clip', f'LCR, {way}', wrap(scores(model, clip)), 'LCR',
                 describe(model, clip)))
        frame = frame_case(model, clip, f'LCR, {ONE_MORE}, {way}', base)
        cases.append(frame._replace(run=wrap(frame.run)))
    return cases


def growth_cases(model: Any, clip: Tensor,
                 parts: List[str]) -> List[Case]:
    """Build cases of longer clips, larger clips and larger batches."""
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


def step_cases(model: Any, clip: Tensor) -> List[Case]:
    """Build cases of a training step with all and with half of the tokens."""
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


def product_case(part: str, base: str) -> Case:
    """Build the case of a large matrix product, whose rate sets the floor."""
    a, b, product = torch.randn(3, GEMM_SIZE, GEMM_SIZE)
    return Case(part, 'matrix product', lambda: torch.mm(a, b, out=product),
                base, f'{GEMM_SIZE} in each dimension')


def stream_cases(args: argparse.Namespace) -> List[Case]:
    """Build cases of a stream's step in both contexts, and of its input.

    Frames of a video of noise go through the test pipeline of the config, with
    the crop in the middle or with all that it takes.
    """
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    video, size = osp.join(folder, 'noise.mp4'), STREAM_SIZE
    writer = cv2.VideoWriter(
        video, cv2.VideoWriter.fourcc(*'mp4v'), 25., size)
    ground = cv2.resize(np.random.randint(0, 256, (15, 20, 3), np.uint8), size)
    for _ in range(STREAM_FRAMES):
        ground = np.roll(ground, 4, axis=1)  # gives the codec motion to code
        writer.write(ground)
    writer.release()
    image = cv2.cvtColor(ground, cv2.COLOR_BGR2RGB)
    decoded = f'{STREAM_FRAMES} frames of {size[0]}x{size[1]}'
    cases = [
        Case('stream', 'decoding', lambda: list(open_source(video)),
             'decoding', decoded)
    ]
    for taken in CROPS:
        for context in StreamRecognizer.CONTEXTS:
            stream = StreamRecognizer(
                load_config(args), args.checkpoint, context=context,
                crops=taken)
            views = stream.views(image)
            for _ in range(stream.clip_len):  # starts both windows
                stream.take_views(views)
            height, width = views.shape[-2:]
            crops = f'{len(views)} crops of {height}x{width}'
            cases.append(
                Case('stream', f'{taken}, {context}',
                     functools.partial(stream.take_views, views), 'decoding',
                     crops))
        cases.append(
            Case('stream', f'{taken}, transforms',
                 functools.partial(stream.views, image), 'decoding', crops))
    return cases


def make_cases(args: argparse.Namespace, model: Any,
               clip: Tensor) -> List[Case]:
    """Build all cases that the arguments ask for."""
    cases: List[Case] = []
    if 'operator' in args.parts:
        heads = model.backbone.num_heads
        cases += operator_cases(heads, model.backbone.embed_dims // heads)
    if 'clip' in args.parts:
        cases += clip_cases(model, clip,
                            {name: OTHERS[name]
                             for name in args.others})
        base = CHEAPEST if next(iter(OTHERS)) in args.others else 'LCR'
        cases += other_ways(model, clip, base, args.compiled)
        cases.append(product_case('clip', 'LCR'))
    if 'stream' in args.parts:
        cases += stream_cases(args)
        cases.append(product_case('stream', 'decoding'))
    if 'step' in args.parts:
        cases += step_cases(model, clip)
    return cases + growth_cases(
        model, clip, [part for part in args.parts if part in GROWTH])


def build_other(name: str) -> Tuple[torch.nn.Module, Tensor]:
    """Build a model of MMAction2 and a clip in its test pipeline's format."""
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


def describe(model: Any, inputs: Tensor) -> str:
    """Return the parameters of a model and the shape of its input."""
    return (f'{num_parameters(model) / 1e6:.1f} M, '
            f'{"x".join(map(str, inputs.shape))}')


def scores(model: Any, clip: Tensor) -> Callable[[], Tensor]:
    """Return a function that computes the scores of a clip."""
    return lambda: model.cls_head(model.backbone(clip))
