# Copyright (c) The mmlcr authors. All rights reserved.
"""Count parameters and multiply-adds, as ``mmlcr flops`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('flops')
