# Copyright (c) The mmlcr authors. All rights reserved.
"""Look at every clip of a config's lists before training does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('scan')
