# Copyright (c) The mmlcr authors. All rights reserved.
"""Render the motion set: labelled motions as small video files."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('motion')
