# Copyright (c) The mmlcr authors. All rights reserved.
"""Read checkpoints and predictions without running code in them.

With MMEngine, it depends on the version of torch whether a checkpoint can run
code, and one from the web always can. Therefore ``import mmlcr`` registers the
functions of this module as MMEngine's checkpoint loaders, for the whole
process. For checkpoints that hold objects of other classes, MMEngine's own
loaders are kept or restored by:

- the environment variable ``MMLCR_GUARD_LOADING=0``, before the import;
- :func:`unguard_loading`, after it.

Models of the package, ``mmlcr://NAME``, load in both cases.
:func:`read_checkpoint` and :func:`read_dump` never run code.
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
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from mmlcr.compat import NUMPY_NAMES


class UnreadableFileError(RuntimeError):
    """A file of weights or predictions can't be read; names the file."""


class UntrustedFileError(UnreadableFileError):
    """A file holds types that are not allowed; names them."""


class BrokenFileError(UnreadableFileError):
    """A file is cut off or has another format."""


MAX_NAME = 1000  # characters of a class name
GUARD_VARIABLE = 'MMLCR_GUARD_LOADING'
ZOO_SCHEME = 'mmlcr://'  # of the package's models
ZOO = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'zoo')

# parts of unpicklers' messages about files that are not a complete pickle
_BROKEN = ('invalid load key', 'truncated', 'Ran out of input',
           'Unsupported operand')


def read_checkpoint(path: str, map_location: Any = None) -> Any:
    """Read a checkpoint of ``torch.save`` or safetensors.

    Args:
        path (str): A ``.safetensors`` file has a state dict, and class names
            in its header; any other file is read by torch.
        map_location (Any): The argument of :func:`torch.load`. Defaults to
            None.

    Raises:
        FileNotFoundError: If there is no such file.
        UntrustedFileError: If it holds anything but tensors, numbers, texts
            and the types of MMEngine's checkpoints; nothing of it is run.
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
    """Return the class names in the metadata of a checkpoint.

    Args:
        checkpoint (Any): The result of :func:`read_checkpoint`.
        path (str): Path of the file, the prefix of error messages.

    Returns:
        tuple[str, ...] | None: In the order of the labels; None if the
        checkpoint has no class names.

    Raises:
        BrokenFileError: If :func:`validate_class_names` refuses them.
    """
    found = checkpoint
    for key in ('meta', 'dataset_meta', 'classes'):
        found = found.get(key) if isinstance(found, dict) else None
    return validate_class_names(found, path) if found else None


def validate_class_names(names: Any, path: str) -> Tuple[str, ...]:
    """Validate class names of a file before they are printed.

    Args:
        names (Any): The object in the file.
        path (str): Path of the file, the prefix of error messages.

    Raises:
        BrokenFileError: If they are not a list of printable texts.
    """
    if not isinstance(names, (list, tuple)) or not all(
            isinstance(name, str) and name.isprintable()
            and 0 < len(name) <= MAX_NAME for name in names):
        raise BrokenFileError(f'{path}: its class names are not a list of '
                              f'texts of up to {MAX_NAME} printable '
                              'characters')
    return tuple(names)


def load_from_file(filename: str, map_location: Any = None) -> Any:
    """Call :func:`read_checkpoint`; MMEngine's log shows this name."""
    return read_checkpoint(filename, map_location)


def load_from_package(filename: str, map_location: Any = None) -> Any:
    """Load a model of the package, ``mmlcr://NAME``."""
    name = filename[len(ZOO_SCHEME):]
    models = sorted(file[:-len('.safetensors')] for file in os.listdir(ZOO)
                    if file.endswith('.safetensors'))
    if name not in models:
        raise FileNotFoundError(f'there is no checkpoint {filename}; with the '
                                f'package come {", ".join(models)}')
    return read_checkpoint(
        osp.join(ZOO, f'{name}.safetensors'), map_location)


def load_from_web(filename: str,
                  map_location: Any = None,
                  model_dir: Optional[str] = None,
                  progress: bool = True) -> Any:
    """Load a checkpoint from an address; errors are those of local files.

    The first process of a distributed run downloads it, the others wait.
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
    """Read the predictions that ``mmlcr test --dump`` wrote.

    Args:
        path (str): Path of the pickle file.

    Returns:
        list[dict]: One for each sample.

    Raises:
        UntrustedFileError: If it holds anything but tensors, arrays of
            numbers and built-in types; nothing of it is run.
        BrokenFileError: If it can't be read.
    """
    with open(path, 'rb') as file:
        return _guarded(path, _DumpUnpickler(file).load)


def register_loaders() -> None:
    """Register the loaders of this module with MMEngine, on import.

    The loader of ``mmlcr://`` is always registered, and :func:`guard_loading`
    is called unless the environment has ``MMLCR_GUARD_LOADING=0``.
    """
    CheckpointLoader.register_scheme(ZOO_SCHEME, load_from_package, force=True)
    if os.environ.get(GUARD_VARIABLE) != '0':
        guard_loading()


def guard_loading() -> None:
    """Make MMEngine load all checkpoints with this module.

    This holds for the whole process, also for models of other packages.
    """
    _set_loaders(load_from_file, load_from_web)


def unguard_loading() -> None:
    """Undo :func:`guard_loading`: restore MMEngine's own loaders.

    They may run code in a checkpoint, and do not read ``.safetensors``.
    """
    _set_loaders(*_MMENGINE_LOADERS)


_MMENGINE_LOADERS = (mmengine_checkpoint.load_from_local,
                     mmengine_checkpoint.load_from_http)


def _set_loaders(from_file: Callable, from_web: Callable) -> None:
    CheckpointLoader.register_scheme('', from_file, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'),
                                     from_web,
                                     force=True)
    mmengine_checkpoint.load_from_local = from_file
    mmengine_checkpoint.load_from_http = from_web


class _DumpUnpickler(pickle.Unpickler):
    """Resolves only the names that occur in a dump of predictions."""

    def find_class(self, module: str, name: str) -> Any:
        known = _DUMP_NAMES.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')
        return known


def _tensor_storage(data: bytes) -> Any:
    """Safe stand-in for ``torch.storage._load_from_bytes``."""
    return torch.load(io.BytesIO(data), weights_only=True)


def _text_as_bytes(text: Any, encoding: Any) -> bytes:
    """Safe stand-in for ``_codecs.encode``, for the bytes of old pickles."""
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
        weights = load_file(path)
        with safe_open(path, 'pt') as file:
            header = file.metadata() or {}
        meta = {}
        if 'classes' in header:  # json runs no code
            meta['dataset_meta'] = dict(classes=json.loads(header['classes']))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BrokenFileError(f'{path}: {error}') from error
    if isinstance(map_location, (str, torch.device)):
        weights = {name: t.to(map_location) for name, t in weights.items()}
    return dict(state_dict=weights, meta=meta)


def _guarded(path: str, read: Callable[[], Any]) -> Any:
    """Call ``read``, and convert its errors to those of this module."""
    try:
        return read()
    except (FileNotFoundError, IsADirectoryError):
        raise
    except Exception as error:
        message = str(error)
        names = re.findall(r'GLOBAL (\S+)', message)
        refused = re.findall(r'refused: (.*)', message)
        is_pickle = isinstance(error, pickle.UnpicklingError) and not any(
            words in message for words in _BROKEN)
        reason = (re.findall(r'WeightsUnpickler error: (.*)', message)
                  or message.splitlines() or [type(error).__name__])[0]
        if names or refused or is_pickle:
            content = ', '.join(dict.fromkeys(names or refused)) or reason
            raise UntrustedFileError(
                f'{path} is refused, and nothing in it was run; in it: '
                f'{content}') from error
        raise BrokenFileError(
            f'{path} can not be read, and nothing in it was run; it is cut '
            f'off or of another kind: {reason}') from error
