# Copyright (c) The mmlcr authors. All rights reserved.
"""Kill a training at random and compare the outcome, as ``mmlcr check-resume`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('check-resume')
