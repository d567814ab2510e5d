# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr visualize: draw edge maps, forget gate, state and Grad-CAM."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('visualize')
