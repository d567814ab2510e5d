# Copyright (c) The mmlcr authors. All rights reserved.
"""What the runner needs besides MMEngine's own."""
from .checkpoints import WholeCheckpointHook, WholeFileBackend
from .cpu_amp import CPUAmpOptimWrapper
from .draws import Draw, SeededSampler, SeedHook, seed_draws
from .files import write_whole
from .layer_decay import LayerDecayConstructor
from .loading import (
    BrokenFileError,
    UnreadableFileError,
    UntrustedFileError,
    checked_names,
    guard_loading,
    names_in,
    read_checkpoint,
    read_dump,
)
from .loops import ResumableTrainLoop
from .progress import clip_ids
from .watching import BadClipsHook, FiniteLossHook, TrainingError

__all__ = [
    'BadClipsHook', 'BrokenFileError', 'CPUAmpOptimWrapper', 'Draw',
    'FiniteLossHook', 'LayerDecayConstructor', 'ResumableTrainLoop',
    'SeedHook', 'SeededSampler', 'TrainingError', 'UnreadableFileError',
    'UntrustedFileError', 'WholeCheckpointHook', 'WholeFileBackend',
    'checked_names', 'clip_ids', 'guard_loading', 'names_in',
    'read_checkpoint', 'read_dump', 'seed_draws', 'write_whole'
]
