# Copyright (c) The mmlcr authors. All rights reserved.
"""Compile the kernels before they are needed, once on a machine.

Numba stores what it has compiled beside the package, or wherever it finds a
folder that can be written. A file there says that all kernels for one type of
layer are stored. If it is missing, a process compiles them in the background,
while another backend runs the first clips.
"""
import functools
import glob
import hashlib
import logging
import os
import os.path as osp
import subprocess
import sys
from typing import Dict, Optional, Set

import llvmlite.binding
import numba
import torch
from filelock import FileLock
from torch import nn

import mmlcr
from mmlcr.backends.base import log
from mmlcr.backends.eager import StackSpec
from mmlcr.layers import (
    CoupledCell,
    CrossRWKVLayer,
    Geometry,
    Normalize,
    PatchStem,
    VRWKV6Layer,
)
from mmlcr.ops import TokenLayout, TokenShift
from .layers import pack_layers
from .schedule import pass_layers
from .stem import NumbaStem

KINDS = {kind.__name__: kind for kind in (CrossRWKVLayer, VRWKV6Layer)}
# files whose contents kernels contain
SOURCES = ('*.py', '../../ops/batched.py', '../../layers/common.py',
           '../../layers/vrwkv6.py')

_ready: Set[str] = set()
_processes: Dict[str, subprocess.Popen] = {}


def cache_folder() -> Optional[str]:
    """Return the folder of Numba's cache; None if none can be written."""
    return pass_layers.stats.cache_path  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=None)
def _version() -> str:
    """Return a hash of the sources, of Numba and of the processor."""
    found = [numba.__version__, torch.__version__, sys.version,
             llvmlite.binding.get_host_cpu_name(),
             llvmlite.binding.get_host_cpu_features().flatten()]
    folder = osp.dirname(__file__)
    for pattern in SOURCES:
        for path in sorted(glob.glob(osp.join(folder, pattern))):
            status = os.stat(path)  # as Numba does for the file of a function
            found.append(f'{path} {status.st_mtime_ns} {status.st_size}')
    return hashlib.sha256('\n'.join(found).encode()).hexdigest()[:12]


def _marker(folder: str, kind: str) -> str:
    return osp.join(folder, f'{kind}-{_version()}.compiled')


def compile_kernels(kind: str) -> None:
    """Compile all kernels for one type of layer, unless they are stored.

    Args:
        kind (str): A key of ``KINDS``.
    """
    folder = cache_folder()
    if folder is None:
        _run_kernels(kind)
    else:
        os.makedirs(folder, exist_ok=True)
        with FileLock(osp.join(folder, 'mmlcr.lock')):
            if not osp.exists(_marker(folder, kind)):
                _remove_stale(folder)
                _run_kernels(kind)
                with open(_marker(folder, kind), 'w'):
                    pass
    _ready.add(kind)


def _remove_stale(folder: str) -> None:
    """Remove what was compiled from other sources.

    Numba notices only changes of the file of a function, not those of the
    files of functions that it calls.
    """
    if not glob.glob(osp.join(folder, f'*-{_version()}.compiled')):
        tag = f'py{sys.version_info.major}{sys.version_info.minor}'
        for path in glob.glob(osp.join(folder, f'*.{tag}*.nb[ic]')):
            os.remove(path)


def _run_kernels(kind: str) -> None:
    """Run a frame through a small layer and stem of that type."""
    D, size, rows = 8, 2, 2
    layout = TokenLayout(rows, rows)
    cell = CoupledCell()
    layer = KINDS[kind](D, 1, 2., True, cell)
    norm, cls_token = nn.LayerNorm(D), torch.zeros(D)
    stem = NumbaStem(
        PatchStem(3, D, size), None, None, None, cls_token, norm,
        nn.Identity(), Normalize.identity(4))
    layers = pack_layers([layer], layout.num_tokens,
                         StackSpec(cell, True, False, False))
    geometry = Geometry(
        TokenShift(layout, 1, D, cls_token.device), rotation=None)
    for dtype in torch.uint8, torch.float32:
        clip = torch.zeros(1, 4, 2, rows * size, rows * size, dtype=dtype)
        # a whole clip, and frames of one, are arrays of different types
        for frames in clip, clip[:, :, :1]:
            layers(stem(frames, layout), None, None, geometry)


def pending(kind: str) -> Optional[str]:
    """Return why the kernels for a type of layer cannot be used yet.

    The first call starts to compile them in the background, if they are not
    stored. Where nothing can be stored, they are compiled on their first use.

    Args:
        kind (str): A key of ``KINDS``.

    Returns:
        str, optional: The reason; None if they can be used.
    """
    if kind in _ready:
        return None
    folder = cache_folder()
    if folder is None:
        log(f'Numba compiles kernels for {kind}, about ten seconds in each '
            'process, since there is no folder to store them in: set '
            'NUMBA_CACHE_DIR', logging.WARNING)
    elif not osp.exists(_marker(folder, kind)):
        try:
            if kind not in _processes:
                _processes[kind] = _start(kind)
            if _processes[kind].poll() is None:
                return 'its kernels are being compiled'
            code = _processes[kind].returncode
            reason = f'exit code {code}' if code else ''
        except OSError as error:
            reason = str(error)
        if reason:
            log(f'Numba could not compile kernels for {kind} in the '
                f'background ({reason}), and does so now', logging.WARNING)
    _ready.add(kind)
    return None


def _start(kind: str) -> subprocess.Popen:
    """Start a process that compiles the kernels for one type of layer."""
    log(f'Numba compiles kernels for {kind} in the background, once on this '
        'machine, in less than a minute; PyTorch takes their place until then',
        logging.WARNING)
    paths = [osp.dirname(osp.dirname(mmlcr.__file__)),
             os.environ.get('PYTHONPATH', '')]
    return subprocess.Popen(
        [sys.executable, '-c', f'from {__name__} import main; main()', kind],
        env={
            **os.environ, 'OMP_NUM_THREADS': '1',
            'PYTHONPATH': os.pathsep.join(filter(None, paths))
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)


def main() -> None:
    """Compile the kernels for the type that the first argument names."""
    compile_kernels(sys.argv[1])
