# Copyright (c) The mmlcr authors. All rights reserved.
"""Recognize actions in a video, camera or network stream, as ``mmlcr stream`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream')
