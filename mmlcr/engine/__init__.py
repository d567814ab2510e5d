# Copyright (c) The mmlcr authors. All rights reserved.
"""Extensions of MMEngine's runner.

Nothing here depends on LCR, except for :mod:`mmlcr.engine.layer_decay`, which
depends on the names of its parameters.
"""
from .atomic import atomic_write
from .checkpoints import AtomicCheckpointHook, AtomicFileBackend
from .configs import find_config
from .cpu_amp import CPUAmpOptimWrapper, cpu_has_bfloat16
from .hooks import BadClipsHook, CheckInvalidLossHook, TrainingError
from .layer_decay import LayerDecayConstructor
from .loading import (
    BrokenFileError,
    UnreadableFileError,
    UntrustedFileError,
    guard_loading,
    names_in,
    read_checkpoint,
    read_dump,
    register_loaders,
    unguard_loading,
    validate_class_names,
)
from .loops import ResumableTrainLoop
from .progress import clip_ids
from .seeding import SampleSeed, SeededSampler, SeedHook, seed_generators

__all__ = [
    'AtomicCheckpointHook', 'AtomicFileBackend', 'BadClipsHook',
    'BrokenFileError', 'CPUAmpOptimWrapper', 'CheckInvalidLossHook',
    'LayerDecayConstructor', 'ResumableTrainLoop', 'SampleSeed', 'SeedHook',
    'SeededSampler', 'TrainingError', 'UnreadableFileError',
    'UntrustedFileError', 'atomic_write', 'clip_ids', 'cpu_has_bfloat16',
    'find_config', 'guard_loading', 'names_in', 'read_checkpoint', 'read_dump',
    'register_loaders', 'seed_generators', 'unguard_loading',
    'validate_class_names'
]
