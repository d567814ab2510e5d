# Copyright (c) The mmlcr authors. All rights reserved.
"""Compile the kernels of the backend ``numba``."""
import argparse
import sys

from mmlcr.backends.numba import compile_kernels, missing_requirement


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    reason = missing_requirement()
    if reason:
        sys.exit(f'the backend numba cannot be used here: {reason}')
    for kind, seconds in compile_kernels().items():
        print(f'kernels for {kind}: {seconds:.1f} s')
    from mmlcr.backends.numba.warmup import cache_folder
    print(f'stored in {cache_folder()}' if cache_folder() else
          'there is no folder to store them in: set NUMBA_CACHE_DIR')
