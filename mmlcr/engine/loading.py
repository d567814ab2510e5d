# Copyright (c) The mmlcr authors. All rights reserved.
"""Reading checkpoints and predictions of strangers: nothing in them is run.

MMEngine leaves it to the version of torch whether a checkpoint may carry code,
and with checkpoints from the web it always may. Here it never may.
"""
import io
import json
import os
import os.path as osp
import pickle
import re
from collections import OrderedDict
from typing import Any, Callable, Dict, Optional, Tuple

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner import checkpoint as of_mmengine
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

import mmlcr
from mmlcr.compat import NUMPY_NAMES


class UnreadableFileError(RuntimeError):
    """A checkpoint or predictions that are not read; the file is named."""


class UntrustedFileError(UnreadableFileError):
    """A file that carries more than it may; the message says what."""


class BrokenFileError(UnreadableFileError):
    """A file that was cut off, or is of another kind."""


LONGEST_NAME = 1000  # of a class, in characters
SHIPPED = 'mmlcr://'  # what the name of a model of the package begins with
ZOO = osp.join(osp.dirname(mmlcr.__file__), 'zoo')

# in what the unpicklers say of a file that is no pickle, or not all of one
_BROKEN = ('invalid load key', 'truncated', 'Ran out of input',
           'Unsupported operand')


def read_checkpoint(path: str, map_location: Any = None) -> Any:
    """What ``torch.save`` or safetensors wrote.

    Args:
        path (str): ``.safetensors`` holds a state dict, and class names in its
            header; all else is torch's.
        map_location (Any): As of :func:`torch.load`. Defaults to None.

    Raises:
        FileNotFoundError: If there is no such file.
        UntrustedFileError: If it carries anything but tensors, numbers, texts
            and what MMEngine's checkpoints hold; nothing of it was run.
        BrokenFileError: If it can't be read.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f'there is no checkpoint {path}')
    if path.endswith('.safetensors'):
        return _read_safetensors(path, map_location)
    return _guarded(
        path, lambda: torch.load(path, map_location, weights_only=True))


def names_in(checkpoint: Any, path: str) -> Optional[Tuple[str, ...]]:
    """The class names that a checkpoint took along from its training.

    Args:
        checkpoint (Any): Of :func:`read_checkpoint`.
        path (str): What an error begins with.

    Returns:
        tuple[str, ...] | None: In the order of the labels; None without.

    Raises:
        BrokenFileError: As of :func:`checked_names`.
    """
    found = checkpoint
    for key in ('meta', 'dataset_meta', 'classes'):
        found = found.get(key) if isinstance(found, dict) else None
    return checked_names(found, path) if found else None


def checked_names(found: Any, path: str) -> Tuple[str, ...]:
    """Class names out of a file, as they may go to a terminal.

    Raises:
        BrokenFileError: If they are no list of texts that can be printed.
    """
    if not isinstance(found, (list, tuple)) or not all(
            isinstance(name, str) and name.isprintable()
            and 0 < len(name) <= LONGEST_NAME for name in found):
        raise BrokenFileError(f'{path}: its class names are no list of texts '
                              f'of up to {LONGEST_NAME} printed characters')
    return tuple(found)


def load_from_file(filename: str, map_location: Any = None) -> Any:
    """As :func:`read_checkpoint`; MMEngine says "file" of it in the log."""
    return read_checkpoint(filename, map_location)


def load_from_package(filename: str, map_location: Any = None) -> Any:
    """A model that comes with the package, ``mmlcr://NAME``."""
    name = filename[len(SHIPPED):]
    there = sorted(file[:-len('.safetensors')] for file in os.listdir(ZOO)
                   if file.endswith('.safetensors'))
    if name not in there:
        raise FileNotFoundError(f'there is no checkpoint {filename}; with the '
                                f'package come {", ".join(there)}')
    return read_checkpoint(
        osp.join(ZOO, f'{name}.safetensors'), map_location)


def load_from_web(filename: str,
                  map_location: Any = None,
                  model_dir: Optional[str] = None,
                  progress: bool = True) -> Any:
    """A checkpoint at an address; arguments and errors as above.

    The first process downloads it, the others wait.
    """
    rank, world_size = get_dist_info()

    def load() -> Any:
        return torch.hub.load_state_dict_from_url(
            filename,
            model_dir,
            map_location,
            progress and rank == 0,
            weights_only=True)

    try:
        if rank == 0:
            return _guarded(filename, load)
    finally:
        if world_size > 1:
            barrier()
    return _guarded(filename, load)


def read_dump(path: str) -> Any:
    """The predictions that ``tools/test.py --dump`` wrote.

    Args:
        path (str): Of the pickle file.

    Returns:
        list[dict]: Of each sample.

    Raises:
        UntrustedFileError: If it carries more than tensors, arrays of numbers
            and Python's own values; nothing of it was run.
        BrokenFileError: If it can't be read.
    """
    with open(path, 'rb') as file:
        return _guarded(path, _DumpUnpickler(file).load)


def guard_loading() -> None:
    """Have MMEngine read all checkpoints this way."""
    CheckpointLoader.register_scheme('', load_from_file, force=True)
    CheckpointLoader.register_scheme(SHIPPED, load_from_package, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'),
                                     load_from_web,
                                     force=True)
    of_mmengine.load_from_local = load_from_file
    of_mmengine.load_from_http = load_from_web


class _DumpUnpickler(pickle.Unpickler):
    """Knows the few names that a dump of predictions holds."""

    def find_class(self, module: str, name: str) -> Any:
        known = _DUMP_NAMES.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')
        return known


def _tensor_storage(data: bytes) -> Any:
    """``torch.storage._load_from_bytes``, which would load anything."""
    return torch.load(io.BytesIO(data), weights_only=True)


def _text_as_bytes(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``, by which old pickles hold bytes."""
    if type(text) is not str or encoding != 'latin1':
        raise pickle.UnpicklingError(f'refused: bytes in {encoding!r}')
    return text.encode('latin1')


_DUMP_NAMES: Dict[Tuple[str, str], Callable] = {
    ('_codecs', 'encode'): _text_as_bytes,
    ('collections', 'OrderedDict'): OrderedDict,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch.storage', '_load_from_bytes'): _tensor_storage,
    **NUMPY_NAMES,
}


def _read_safetensors(path: str, map_location: Any) -> Dict[str, Any]:
    try:
        found = load_file(path)
        with safe_open(path, 'pt') as file:
            told = file.metadata() or {}
        meta = {}
        if 'classes' in told:  # json runs nothing of it
            meta['dataset_meta'] = dict(classes=json.loads(told['classes']))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BrokenFileError(f'{path}: {error}') from error
    if isinstance(map_location, (str, torch.device)):
        found = {name: t.to(map_location) for name, t in found.items()}
    return dict(state_dict=found, meta=meta)


def _guarded(path: str, read: Callable[[], Any]) -> Any:
    """Read, with errors that say what is wrong with the file."""
    try:
        return read()
    except (FileNotFoundError, IsADirectoryError):
        raise
    except Exception as error:
        said = str(error)
        names = re.findall(r'GLOBAL (\S+)', said)
        refused = re.findall(r'refused: (.*)', said)
        unpickled = isinstance(error, pickle.UnpicklingError) and not any(
            words in said for words in _BROKEN)
        reason = (re.findall(r'WeightsUnpickler error: (.*)', said)
                  or said.splitlines() or [type(error).__name__])[0]
        if names or refused or unpickled:
            carried = ', '.join(dict.fromkeys(names or refused)) or reason
            raise UntrustedFileError(
                f'{path} is refused, and nothing in it was run; in it: '
                f'{carried}') from error
        raise BrokenFileError(
            f'{path} can not be read, and nothing in it was run; cut off or '
            f'of another kind: {reason}') from error
