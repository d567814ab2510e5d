# Copyright (c) The mmlcr authors. All rights reserved.
"""Count the parameters and multiply-adds of a config's recognizer."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('flops')
