# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr analyze: plot learning curves, confusion and accuracy by class."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('analyze')
