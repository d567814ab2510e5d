# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr stream: recognize actions in a video, camera or network stream."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream')
