# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr train: train a recognizer."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('train')
