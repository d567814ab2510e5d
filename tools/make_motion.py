# Copyright (c) The mmlcr authors. All rights reserved.
"""Render the motion set, on which the demo is trained, as ``mmlcr motion`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('motion')
