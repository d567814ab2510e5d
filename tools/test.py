# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr test: test a checkpoint."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('test')
