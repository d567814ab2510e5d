# Copyright (c) The mmlcr authors. All rights reserved.
"""The Numba backend: its kernels against PyTorch, and its threads."""
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, Optional

import pytest
import torch
from lcr_cases import (
    FLOAT32_TOLERANCE,
    OPTIONS,
    TINY,
    build,
    draw_clip,
    draw_mask,
)
from torch import nn

from mmlcr.deploy import count_multiply_adds
from mmlcr.models import LCR


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """The number of chunks per frame, for each call of the kernels."""
    fused = pytest.importorskip(
        'mmlcr.backends.numba.layers',
        reason='needs Numba',
        exc_type=ImportError)
    chunks: List[int] = []
    pass_layers = fused.pass_layers

    def counted(*args: Any) -> None:
        chunks.append(args[-1].N)
        pass_layers(*args)

    monkeypatch.setattr(fused, 'pass_layers', counted)
    return chunks


@pytest.mark.parametrize('dropped', [0, 7])
@pytest.mark.parametrize('name', OPTIONS)
def test_kernels_are_the_same(name: str, dropped: int, redraw: Callable,
                                    relative_error: Callable,
                                    kernel_calls: List[int]) -> None:
    """The error against float64 is no larger than PyTorch's in float32."""
    model = build(redraw, **OPTIONS[name])
    clip, mask = draw_clip(T=5), draw_mask(2, 5, 4, dropped)
    with torch.no_grad():
        fused, state = model.forward_frames(clip[:, :, :3], None, mask)
        if not dropped:
            fused, _ = model.forward_frames(clip[:, :, 3:], state)
        calls = len(kernel_calls)
        model.backend = 'eager'
        clip = clip if not dropped else clip[:, :, :3]
        plain = model(clip, mask)
        assert len(kernel_calls) == calls > 0
        exact = model.double()(clip.double(), mask)
    assert relative_error(plain, exact) < FLOAT32_TOLERANCE
    assert relative_error(fused, exact) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('decay', [None, -6., 1.])
@pytest.mark.parametrize('name', ['default', 'coupled', 'vrwkv6'])
def test_kernels_of_many_chunks(name: str, decay: Optional[float],
                                      redraw: Callable,
                                      relative_error: Callable,
                                      kernel_calls: List[int]) -> None:
    """Very weak and very strong decays within a chunk."""
    model = build(redraw, **OPTIONS[name])
    if decay is not None:
        for layer in model.layers:
            nn.init.constant_(layer.decay, decay)
    clip = draw_clip(2, 3, 48, 52)  # 157 tokens
    with torch.no_grad():
        fused = model(clip)
        exact = model.double()(clip.double())
    assert max(kernel_calls) > 1
    assert relative_error(fused, exact) < FLOAT32_TOLERANCE


@pytest.mark.parametrize('name', ['default', 'clip', 'coupled', 'vrwkv6'])
def test_kernels_pass_on_what_is_not_finite(name: str, redraw: Callable,
                                                  kernel_calls: List[int]
                                                  ) -> None:
    model, clip = build(redraw, **OPTIONS[name]), draw_clip(T=2)
    clip[0, 0, 0, 0, 0] = math.nan
    with torch.no_grad():
        feature = model(clip)
    assert kernel_calls
    assert feature[0].isnan().all() and feature[1].isfinite().all()


def test_kernels_where_they_can_be(redraw: Callable,
                                         kernel_calls: List[int],
                                         monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    """With gradients, in other precisions and in traces."""
    model, clip = build(redraw), draw_clip(1, 1)
    model(clip)
    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            model(clip)
        with monkeypatch.context() as patch:
            patch.setattr(torch.jit, 'is_tracing', lambda: True)
            model(clip)
        model.double()(clip.double())
    assert kernel_calls == []
    with torch.inference_mode():
        model.float()(clip)
    assert kernel_calls


def test_kernels_in_either_mode_and_any_size(redraw: Callable,
                                                   kernel_calls: List[int]
                                                   ) -> None:
    """They share their workspace."""
    model = build(redraw)
    clips = [draw_clip(B, 2, side, side) for B, side in ((1, 8), (3, 24))]
    with torch.no_grad():
        expected = [model(clip) for clip in clips]
    workspace = sys.modules['mmlcr.backends.numba.workspace']
    workspace._thread_local.__dict__.clear()
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            for clip, feature in zip(clips * 2, expected * 2):
                assert torch.equal(model(clip), feature)
    infer = torch.no_grad()(model.forward)
    with ThreadPoolExecutor(2) as pool:
        features = list(pool.map(infer, clips * 8))
    for feature, same in zip(features, expected * 8):
        assert torch.equal(feature, same)
    assert kernel_calls


def test_kernels_leave_the_number_of_threads() -> None:
    """Run in a new process, as starting the threads could change it."""
    pytest.importorskip('numba')
    code = ('import torch, mmlcr\n'
            'from mmlcr.models import LCR\n'
            'model = LCR(embed_dims=16, num_heads=2, num_layers=1).eval()\n'
            'with torch.no_grad():\n'
            '    model(torch.randn(1, 4, 1, 32, 32))\n'
            'print(torch.get_num_threads())')
    done = subprocess.run([sys.executable, '-c', code],
                          env={**os.environ, 'OMP_NUM_THREADS': '1'},
                          stdout=subprocess.PIPE, check=True)
    assert done.stdout.split()[-1] == b'1'


@pytest.mark.parametrize('name', OPTIONS)
def test_what_counts_products_sees_no_kernels(name: str,
                                              kernel_calls: List[int]
                                              ) -> None:
    """The counter sees the products of another backend."""
    model, clip = LCR(**{**TINY, **OPTIONS[name]}).eval(), draw_clip(1, 2)
    counts = []
    for model.backend in ('auto', 'eager'):
        counts.append(count_multiply_adds(lambda: model(clip)))
    assert counts[0] == counts[1] > 0 and not kernel_calls


@pytest.mark.parametrize('layer', ['CrossRWKVLayer', 'VRWKV6Layer'])
@pytest.mark.parametrize('threads', [2, 3])
def test_threads_share_layers_and_chunks(threads: int, layer: str,
                                         run_python: Callable) -> None:
    """All ways to share the work, in a process with more threads."""
    pytest.importorskip('numba')
    code = (
        'import os, sys\n'
        'for name in "OMP_NUM_THREADS", "NUMBA_NUM_THREADS":\n'
        '    os.environ[name] = sys.argv[1]\n'
        'import copy, torch, mmlcr\n'
        'from mmlcr.models import LCR\n'
        'torch.manual_seed(0)\n'
        'model = LCR(embed_dims=16, num_heads=2, num_layers=5, '
        'patch_size=4, backend="numba", layer=dict(type=sys.argv[2])).eval()\n'
        'for weight in model.parameters():\n'
        '    torch.nn.init.normal_(weight, std=0.3)\n'
        'exact = copy.deepcopy(model).double()\n'
        'exact.backend = "eager"\n'
        'for B in (1, 2, 3):\n'
        '    for T in (1, 2, 7, 10):\n'
        '        for side in (8, 36):\n'
        '            clip = torch.randn(B, 4, T, side, side)\n'
        '            with torch.no_grad():\n'
        '                found = model(clip)\n'
        '                expected = exact(clip.double())\n'
        '            error = (found - expected).norm() / expected.norm()\n'
        '            print(error.item())\n')
    done = run_python(code, threads, layer)
    assert 'Cannot cache' not in done.stderr  # to be compiled every time
    errors = list(map(float, done.stdout.split()))
    assert len(errors) == 24 and max(errors) < FLOAT32_TOLERANCE, done.stderr
