# Copyright (c) The mmlcr authors. All rights reserved.
"""Test a checkpoint; the arguments are those of MMAction2's own tool."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('test')
