# Copyright (c) The mmlcr authors. All rights reserved.
"""Measure the accuracy by frame on long streams, as ``mmlcr stream-accuracy`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream-accuracy')
