# Copyright (c) The mmlcr authors. All rights reserved.
"""Test a checkpoint, as ``mmlcr test`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('test')
