# Copyright (c) The mmlcr authors. All rights reserved.
"""Train a recognizer, as ``mmlcr train`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('train')
