# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr warmup: compile Numba's kernels."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('warmup')
