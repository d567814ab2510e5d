# Copyright (c) The mmlcr authors. All rights reserved.
"""What the runner needs besides MMEngine's own."""
from .checkpoints import WholeCheckpointHook, WholeFileBackend
from .cpu_amp import CPUAmpOptimWrapper
from .draws import Draw, SeededSampler, SeedHook, seed_draws
from .files import write_whole
from .loops import ResumableTrainLoop

__all__ = [
    'CPUAmpOptimWrapper', 'Draw', 'ResumableTrainLoop', 'SeedHook',
    'SeededSampler', 'WholeCheckpointHook', 'WholeFileBackend', 'seed_draws',
    'write_whole'
]
