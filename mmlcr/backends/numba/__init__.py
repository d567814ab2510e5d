# Copyright (c) The mmlcr authors. All rights reserved.
"""Kernels compiled by Numba, for inference on a CPU in float32.

A thread runs a chunk of tokens through many operations, so that they stay in
the processor's cache. Numba is imported with the first executor.
"""
from .backend import NumbaBackend, compile_kernels, missing_requirement

__all__ = ['NumbaBackend', 'compile_kernels', 'missing_requirement']
