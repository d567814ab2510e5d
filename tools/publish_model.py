# Copyright (c) The mmlcr authors. All rights reserved.
"""Write weights and class names of a checkpoint, to be passed on."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('publish')
