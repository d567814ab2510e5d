# Copyright (c) The mmlcr authors. All rights reserved.
"""Serve a web page for clips and cameras, as ``mmlcr page`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('page')
