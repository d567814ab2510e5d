# Copyright (c) The mmlcr authors. All rights reserved.
"""Recognize actions in a video, camera or network stream, frame by frame."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream')
