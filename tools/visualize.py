# Copyright (c) The mmlcr authors. All rights reserved.
"""Classify a clip, and draw what the model sees, keeps and remembers of it."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('visualize')
