# Copyright (c) The mmlcr authors. All rights reserved.
"""Draw edge maps, forget gate, state and Grad-CAM, as ``mmlcr visualize`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('visualize')
