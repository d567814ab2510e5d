# Copyright (c) The mmlcr authors. All rights reserved.
"""Interface, registry and selection of the backends.

A backend computes the same as the modules of a model, but faster. It reports
the models and clips that it does not support, and builds executors for the
others. To add one, subclass :class:`Backend` and call
:func:`register_backend`; the model does not change.
"""
import logging
from typing import (
    Any,
    ClassVar,
    Dict,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Union,
)

import torch
from mmengine.logging import MMLogger, print_log
from torch import Tensor

from mmlcr.layers import Geometry, LayerState
from mmlcr.ops import TokenLayout

# Clamp for the gradients of h and c between frames: they can double per frame
# and would overflow on long clips. Training never needs gradients this large.
GRADIENT_BOUND = 1e10


Frames = Union[Tensor, Sequence[Tensor]]


class Tokens(NamedTuple):
    """Input of the layers for ``T`` frames, each ``(T, B, L, D)``."""
    x: Tensor  # frame tokens
    e: Tensor  # edge prompt
    e_norm: Tensor  # its layer norm


class StackOutput(NamedTuple):
    """Output of the layers for ``T`` frames."""
    x: Frames  # output of the last layer, T times (B, L, D)
    c: Frames  # cell of the last layer, T times (B, L, D)
    state: LayerState  # of all layers after the last frame, (n, B, L, D)


class Executor(Protocol):
    """Runs frames through the stem and the layers of one model."""
    @property
    def takes_bytes(self) -> bool:
        """Whether :meth:`embed` normalizes bytes itself."""
        ...

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor]) -> Tokens:
        """Compute frame tokens and edge prompt, equations (1) and (2).

        Args:
            clip (Tensor): Shape ``(B, 4, T, height, width)``.
            layout (TokenLayout): Patches that become tokens.
            previous (Tensor, optional): The frame before the clip,
                ``(B, 4, height, width)``, for differences of pixels.
        """
        ...

    def run_layers(self,
                   tokens: Tokens,
                   e_norm_before: Optional[Tensor],
                   state: Optional[LayerState],
                   geometry: Geometry,
                   out: Optional[LayerState] = None) -> StackOutput:
        """Compute equations (3) to (10) for all layers and frames.

        Args:
            tokens (Tokens): Tokens of ``T`` frames; may be overwritten.
            e_norm_before (Tensor, optional): ``e_norm`` of the frame before,
                ``(B, L, D)``. None without temporal difference.
            state (LayerState, optional): State of all layers,
                ``(n, B, L, D)``. None before the first frame.
            geometry (Geometry): Positions of the tokens.
            out (LayerState, optional): Buffers that the new state may use;
                may be ``state``.
        """
        ...


class Backend:
    """A way to execute LCR.

    ``priority`` orders the backends for ``backend='auto'``; a backend with a
    negative priority is used only if it is named.
    """
    name: ClassVar[str]
    priority: ClassVar[int] = 0
    # whether executors read the parameters at every call; others are cached
    # until a parameter changes, unless gradients are enabled
    follows_parameters: ClassVar[bool] = False

    def unsupported(self, model: Any, clip: Tensor) -> Optional[str]:
        """Return why this backend cannot run a clip, for the log.

        Args:
            model (LCR): The model.
            clip (Tensor): Shape ``(B, 4, T, height, width)``.

        Returns:
            str, optional: The reason; None if the backend supports the clip.
        """
        raise NotImplementedError

    def build(self, model: Any, num_tokens: int) -> Executor:
        """Build an executor for ``num_tokens`` tokens per frame, with CLS."""
        raise NotImplementedError


_BACKENDS: Dict[str, Backend] = {}


def register_backend(backend: Backend) -> Backend:
    """Register a backend under its name.

    Raises:
        ValueError: If the name is taken, or is ``'auto'``.
    """
    if backend.name == 'auto' or backend.name in _BACKENDS:
        raise ValueError(f'there is already a backend {backend.name!r}')
    _BACKENDS[backend.name] = backend
    return backend


def unregister_backend(name: str) -> None:
    """Remove a backend by its name."""
    del _BACKENDS[name]


def backend_names() -> List[str]:
    """Return the names of all backends, highest priority first."""
    return sorted(_BACKENDS, key=lambda name: -_BACKENDS[name].priority)


def get_backend(name: str) -> Backend:
    """Return the backend of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in _BACKENDS:
        names = ', '.join(repr(known) for known in ['auto', *backend_names()])
        raise ValueError(f'backend must be one of {names}, got {name!r}')
    return _BACKENDS[name]


def select_backend(model: Any, clip: Tensor) -> Tuple[Backend, str]:
    """Select the backend that runs a clip.

    Returns:
        tuple[Backend, str]: The backend that ``model.backend`` names, or for
        ``'auto'`` the first one that supports the clip; and why those with a
        higher priority do not.

    Raises:
        ValueError: If a named backend does not support the clip.
    """
    if model.backend != 'auto':
        backend = get_backend(model.backend)
        reason = backend.unsupported(model, clip)
        if reason:
            raise ValueError(
                f'backend={model.backend!r} cannot run this: {reason}; '
                "backend='auto' takes another one")
        return backend, ''
    reasons: List[str] = []
    for name in backend_names():
        backend = _BACKENDS[name]
        if backend.priority < 0:
            continue
        reason = backend.unsupported(model, clip)
        if not reason:
            return backend, '; '.join(reasons)
        reasons.append(f'{name}: {reason}')
    raise ValueError('no backend can run this: ' + '; '.join(reasons))


def log(message: str, level: int = logging.INFO) -> None:
    """Write to the log of a run, or else to the logger ``'mmlcr'``.

    Without a run, MMEngine's logger prints to the standard output, which a
    tool may use for its results.
    """
    if (MMLogger._instance_dict
            and MMLogger.get_current_instance().instance_name != 'mmengine'):
        print_log(message, 'current', level)
    else:
        logging.getLogger('mmlcr').log(level, message)


def is_traced() -> bool:
    """Whether operations are traced, to be replayed with other values."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def is_exported() -> bool:
    """Whether torch.export is tracing, where no value is known."""
    is_exporting = getattr(torch.compiler, 'is_exporting', None)
    return is_exporting is not None and is_exporting()


def bound_gradients(state: LayerState) -> None:
    """Clamp the gradients that pass from a frame to the one before."""
    if torch.compiler.is_compiling():
        return
    for t in (state.h, state.c):
        if t.requires_grad:
            t.register_hook(_bounded)


def _bounded(gradient: Optional[Tensor]) -> Optional[Tensor]:
    if gradient is None:  # an unused output of a compiled graph
        return None
    return gradient.clamp(-GRADIENT_BOUND, GRADIENT_BOUND)
