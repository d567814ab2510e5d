# Copyright (c) The mmlcr authors. All rights reserved.
"""Fixtures that every test may use: seeds, videos, real clips, weights."""
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Callable

# before cv2, torch and decord start threads of their own
os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from weights import draw_weights  # noqa: E402

import mmlcr  # noqa: E402,F401  repairs the stack before mmaction.models
from mmlcr.backends.numba import compile_kernels  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / 'shared' / 'data'
PIXEL = 1 / 120  # inch, of a figure

# The same inputs in every run, on a machine of any speed. Fixtures here give
# functions, which the examples of a test may share.
settings.register_profile(
    'seeded',
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow
    ])
settings.load_profile('seeded')


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of these tests."""
    parser.addoption(
        '--picture', help='where the picture of the page with the demo goes')


def pytest_sessionstart() -> None:
    """Compile the kernels, so that all tests run by the same backends."""
    compile_kernels()


@pytest.fixture(autouse=True, scope='session')
def default_scope() -> None:
    """MMEngine builds MMAction2's parts, as in every config."""
    init_default_scope('mmaction')


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random numbers."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real clips beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f'no real clips: there is no {SHARED_DATA}')
    return SHARED_DATA


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """Run a script in a fresh interpreter that finds this repository."""

    def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
        paths = [str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
        path = os.pathsep.join(filter(None, paths))
        return subprocess.run(
            [sys.executable, '-c', script, *map(str, arguments)],
            env={
                **os.environ, 'PYTHONPATH': path
            },
            capture_output=True,
            text=True,
            errors='replace',
            timeout=120)

    return run


@pytest.fixture
def make_frames() -> Callable[..., np.ndarray]:
    """Frames of a bright textured square that moves over a dark texture.

    The width is a multiple of 32: decord fails on some others.
    """

    def make(num_frames: int = 12,
             height: int = 48,
             width: int = 64,
             step: int = 2) -> np.ndarray:
        """RGB frames, uint8, ``(num_frames, height, width, 3)``."""
        ground = np.random.randint(0, 15, (height, width, 3))
        square = np.random.randint(150, 256, (height // 3, width // 3, 3))
        frames = np.stack([ground] * num_frames).astype(np.uint8)
        top = height // 3
        for t, frame in enumerate(frames):
            left = (t * step) % (width - width // 3)
            frame[top:top + height // 3, left:left + width // 3] = square
        return frames

    return make


@pytest.fixture
def make_video(tmp_path: Path, make_frames: Callable) -> Callable[..., Path]:
    """Write a small video file into the test's folder."""

    def make(name: str = 'clip.mp4',
             fps: float = 25.,
             codec: str = 'mp4v',
             **kwargs) -> Path:
        """The path of a new video; arguments as in ``make_frames``."""
        frames = make_frames(**kwargs)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames.shape[1:3]
        writer = cv2.VideoWriter(
            str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
        assert writer.isOpened()
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()
        return path

    return make


@pytest.fixture
def relative_error() -> Callable[[Tensor, Tensor], float]:
    """``|a - b| / |b|`` in norm, taken in float64."""

    def error(a: Tensor, b: Tensor) -> float:
        assert a.shape == b.shape, (a.shape, b.shape)
        a, b = a.detach().double(), b.detach().double()
        return ((a - b).norm() / b.norm()).item()

    return error


@pytest.fixture
def fits() -> Callable[[Figure], bool]:
    """Whether nothing of a figure is cut off."""

    def all_inside(figure: Figure) -> bool:
        figure.canvas.draw()
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        return bool(box.x0 > -PIXEL and box.y0 > -PIXEL
                    and box.x1 < width + PIXEL and box.y1 < height + PIXEL)

    return all_inside


@pytest.fixture
def redraw() -> Callable[[nn.Module], nn.Module]:
    """Draw all weights anew, so that every path of a module counts."""
    return draw_weights
