# Copyright (c) The mmlcr authors. All rights reserved.
"""Decode every clip of a config's lists and report bad ones, as ``mmlcr scan`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('scan')
