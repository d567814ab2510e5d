# Copyright (c) The mmlcr authors. All rights reserved.
"""Write weights and class names without training state, as ``mmlcr publish`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('publish')
