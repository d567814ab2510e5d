# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr publish: write weights and class names without training state."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('publish')
