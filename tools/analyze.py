# Copyright (c) The mmlcr authors. All rights reserved.
"""Plot learning curves, confusion and accuracy by class, as ``mmlcr analyze`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('analyze')
