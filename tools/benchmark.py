# Copyright (c) The mmlcr authors. All rights reserved.
"""What the operator, a clip, a frame and a training step cost."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('benchmark')
